// Zooms into a box, walks with the arrow keys, and tells what has the focus. Without it the graph
// is whole and every box still has its title.
(() => {
  const flame = document.querySelector(".flame");
  const told = document.querySelector(".told output");
  const whole = document.querySelector(".told button");
  if (!flame) return;
  const boxes = [...flame.querySelectorAll("button")];
  const number = (box, name) => Number(box.style.getPropertyValue(name));
  const edges = (box) => [number(box, "--l"), number(box, "--l") + number(box, "--w")];
  document.querySelector(".told").hidden = false;

  function zoom(box) {
    flame.style.setProperty("--zl", box ? number(box, "--l") : 0);
    flame.style.setProperty("--zw", box ? number(box, "--w") : 1);
    const [from, to] = box ? edges(box) : [0, 1];
    for (const other of boxes) {
      const [left, right] = edges(other);
      other.hidden = right <= from + 1e-9 || left >= to - 1e-9;
    }
    whole.hidden = !box || number(box, "--w") > 0.9999;
  }

  function focusOn(box) {
    for (const other of boxes) other.tabIndex = other === box ? 0 : -1;
    told.textContent = box.title;
  }

  function neighbour(box, key) {
    const depth = number(box, "--d") + { ArrowDown: 1, ArrowUp: -1 }[key] || number(box, "--d");
    const row = boxes.filter((other) => !other.hidden && number(other, "--d") === depth);
    if (key === "ArrowLeft" || key === "ArrowRight") {
      return row[row.indexOf(box) + (key === "ArrowRight" ? 1 : -1)];
    }
    const [from, to] = edges(box);
    const near = row.filter((other) => edges(other)[0] < to && edges(other)[1] > from);
    return near.sort((a, b) => number(b, "--w") - number(a, "--w"))[0];
  }

  flame.addEventListener("click", (event) => {
    const box = event.target.closest("button");
    if (box) zoom(box);
  });
  flame.addEventListener("focusin", (event) => focusOn(event.target));
  flame.addEventListener("pointerover", (event) => {
    const box = event.target.closest("button");
    if (box) told.textContent = box.title;
  });
  flame.addEventListener("keydown", (event) => {
    if (event.key === "Escape") zoom(null);
    if (!event.key.startsWith("Arrow")) return;
    const next = neighbour(event.target, event.key);
    event.preventDefault();
    if (next) next.focus();
  });
  whole.addEventListener("click", () => zoom(null));
  focusOn(flame.querySelector(".hottest") || boxes[0]);
})();
