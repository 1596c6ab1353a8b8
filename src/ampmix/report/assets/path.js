
// shows the chosen pair: its curves, and its texts as text
(function () {
  const held = JSON.parse(document.getElementById("path-pairs").textContent);
  const choice = document.getElementById("pair");
  function show() {
    const pair = held.pairs[Number(choice.value)];
    for (const i of [0, 1]) {
      document.getElementById("label-" + i).textContent = pair.labels[i];
      document.getElementById("text-" + i).textContent = pair.texts[i];
    }
    const told = held.names.map((name, i) => {
      const losses = pair.losses[i];
      return name + ": " + losses[0].toFixed(3) + " at lam = 0, " +
        losses[losses.length - 1].toFixed(3) + " at lam = 1, highest " +
        Math.max(...losses).toFixed(3);
    }).join("; ") + " (nats).";
    document.getElementById("pair-told").textContent = told;
    const view = window.ampmixViews["path-pair"];
    if (!view) { return; }
    document.getElementById("path-pair").setAttribute("aria-label", "Loss along lam. " + told);
    const rows = [];
    held.names.forEach((name, i) => held.lam.forEach((lam, k) => {
      rows.push({policy: name, step: lam, mean: pair.losses[i][k]});
    }));
    view.data("path", rows).runAsync();
  }
  function go(by) {
    const n = held.pairs.length;
    choice.value = String((Number(choice.value) + by + n) % n);
    show();
  }
  choice.addEventListener("change", show);
  document.getElementById("earlier").addEventListener("click", () => go(-1));
  document.getElementById("later").addEventListener("click", () => go(1));
  document.addEventListener("ampmix-drawn", show);
  show();
})();
