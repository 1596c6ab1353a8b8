"""Reports as pages and Markdown, and tables and progress in a terminal."""
