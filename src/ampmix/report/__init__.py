"""Reports as pages and Markdown."""
