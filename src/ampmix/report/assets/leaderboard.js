"use strict";
// filters and sorts the rows of a leaderboard, all of which stand there without it
(function () {
  const filters = [["dataset", "Data set"], ["model", "Model"], ["policy", "Policy"], ["decision", "Verdict"], ["study", "Study"]];
  const numbers = new Set(["labels", "none", "difference", "seconds"]);
  for (const board of document.querySelectorAll(".board")) {
    const body = board.querySelector("tbody"), rows = [...body.rows];
    const place = board.querySelector(".board-choose"), count = board.querySelector(".board-count");
    const chosen = filters.map(([name, title]) => {
      const label = document.createElement("label"), select = document.createElement("select");
      const values = [...new Set(rows.map((row) => row.dataset[name]))].sort();
      select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
      select.addEventListener("change", show);
      label.append(title, select);
      place.append(label);
      return [name, select];
    });
    const order = document.createElement("label"), by = document.createElement("select");
    for (const head of board.querySelectorAll("thead th")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      by.append(new Option(head.textContent, head.dataset.by));
      button.addEventListener("click", () => sort(head.dataset.by, head.getAttribute("aria-sort") === "ascending"));
      head.replaceChildren(button);
    }
    by.addEventListener("change", () => sort(by.value, false));
    order.append("Sort by", by);
    place.append(order);
    place.hidden = false;
    function show() {
      for (const row of rows) {
        row.hidden = chosen.some(([name, select]) => select.value && row.dataset[name] !== select.value);
      }
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = shown + " of " + rows.length + (rows.length === 1 ? " effect" : " effects");
    }
    function sort(name, down) {
      const value = (row) => numbers.has(name) ? Number(row.dataset[name]) : row.dataset[name];
      const sign = down ? -1 : 1;
      rows.sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
      body.append(...rows);
      by.value = name;
      for (const head of board.querySelectorAll("thead th")) {
        if (head.dataset.by === name) {
          head.setAttribute("aria-sort", down ? "descending" : "ascending");
        } else {
          head.removeAttribute("aria-sort");
        }
      }
    }
    show();
  }
  document.documentElement.dataset.drawn = "yes";
})();
