/* The network from input to answer as a row of layers. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, count } = explorer;
  const TALL = 44;

  /* A block as tall as the layer's maps and as wide as it has units, on logarithmic scales. */
  function block(layer, largest) {
    const made = el("span", { class: "block", "aria-hidden": "true" });
    const [units, height] = layer.shape && layer.shape.length === 3 ? layer.shape : [layer.units || 1, 1];
    made.style.height = `${Math.max(3, (TALL * Math.log2(1 + height)) / Math.log2(1 + largest))}px`;
    made.style.width = `${4 + 4 * Math.log2(Math.max(1, units))}px`;
    return made;
  }

  const times = (sizes) => sizes.join("×");

  function facts(layer) {
    const said = [layer.kind];
    if (layer.shape) said.push(times(layer.shape));
    if (layer.field && layer.field.size) {
      const [tall, wide] = layer.field.size;
      said.push(`sees ${tall === wide ? tall : `${tall}×${wide}`} px`);
    }
    if (layer.parameters) said.push(`${count(layer.parameters)} parameters`);
    return said;
  }

  /* Layers as links. Chosen: a layer's name or null; href(name). */
  function strip(layers, chosen, href) {
    const largest = Math.max(1, ...layers.map((layer) => (layer.shape && layer.shape.length === 3 ? layer.shape[1] : 1)));
    const entries = layers.map((layer) => {
      const inside = [
        block(layer, largest),
        el("span", { class: "name", text: layer.name }),
        ...facts(layer).map((text) => el("span", { class: "quiet", text })),
      ];
      const open = layer.shape !== null;
      const card = open
        ? el("a", { href: href(layer.name), "aria-current": layer.name === chosen ? "true" : null }, inside)
        : el("span", { class: "shut" }, inside);
      return el("li", {}, card);
    });
    const element = el("ol", { class: "strip", tabindex: "0", "aria-label": "Layers, from input to answer" }, entries);
    window.requestAnimationFrame(() => {
      const current = element.querySelector("[aria-current]");
      if (!current) return;
      const [outer, inner] = [element.getBoundingClientRect(), current.getBoundingClientRect()];
      element.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
    });
    return element;
  }

  Object.assign(explorer, { strip, facts });
})(window.Explorer);
