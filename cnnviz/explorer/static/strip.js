/* The network from input to answer as a row of layers. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, count } = explorer;
  const TALL = 44;

  /* A block as tall as the layer's maps and as wide as it has units, on logarithmic scales. */
  function block(layer, largest) {
    const made = el("span", { class: layer.container ? "block whole" : "block", "aria-hidden": "true" });
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

  /* Layers that only pass on or rescale what another has computed. */
  const SMALL = /^(BatchNorm|GroupNorm|LayerNorm|InstanceNorm|FrozenBatchNorm|LocalResponseNorm|ReLU|LeakyReLU|PReLU|GELU|SiLU|ELU|Mish|Hard|Sigmoid|Tanh|Softmax|Dropout|StochasticDepth|Identity|Flatten)/;
  let everything = false;

  /* Layers as links. Chosen: a layer's name or null; href(name). */
  function strip(layers, chosen, href) {
    const run = layers.filter((layer) => layer.shape !== null && layer.calls !== 0);
    const largest = Math.max(1, ...run.map((layer) => (layer.shape.length === 3 ? layer.shape[1] : 1)));
    const list = el("ol", { class: "strip", tabindex: "0", "aria-label": "Layers, from input to answer" });

    function card(layer) {
      return el("li", {}, el("a", { href: href(layer.name), "aria-current": layer.name === chosen ? "true" : null },
        block(layer, largest),
        el("span", { class: "name", text: layer.name }),
        facts(layer).map((text) => el("span", { class: "quiet", text }))));
    }

    function draw() {
      const shown = run.filter((layer) => everything || layer.name === chosen || !SMALL.test(layer.kind));
      fill(list, shown.map(card));
    }

    const box = el("input", { type: "checkbox", checked: everything, on: { change: () => {
      everything = box.checked;
      draw();
    } } });
    draw();
    window.requestAnimationFrame(() => {
      const current = list.querySelector("[aria-current]");
      if (!current) return;
      const [outer, inner] = [list.getBoundingClientRect(), current.getBoundingClientRect()];
      list.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
    });
    return el("div", {}, list,
      el("label", { class: "labelled strip-choice" }, box, el("span", { text: "Also activations, normalisations and the like" })));
  }

  Object.assign(explorer, { strip, facts });
})(window.Explorer);
