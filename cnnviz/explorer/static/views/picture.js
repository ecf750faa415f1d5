/* The picture view: what speaks for a class, which units respond at a place, what the answer needs. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, menu, labelled, button, data, address, latest, say, failed } = explorer;

  const SAME = 0.03;

  /* The networks an address shows: all of them unless it names one. */
  function shownNetworks(query) {
    const { networks } = explorer.session;
    const one = networks.find((each) => String(each.id) === query.network);
    return one ? [one] : networks;
  }

  /* A picture of the session, or one of the data set, whose key is "data:" and its number. */
  async function pictureOf(key) {
    const held = explorer.session.pictures.find((each) => each.key === key);
    if (held) return held;
    const number = /^data:(\d+)$/.exec(key);
    if (!number || !explorer.session.data)
      throw new Error(`There is no picture “${key}” here: choose one of those at the start, or add it.`);
    const [told, geometry] = await Promise.all([data.dataPictures(Number(number[1]), 1), data.geometry(0, key)]);
    const [height, width] = geometry.original;
    return { ...told.pictures[0], key, width, height };
  }

  async function mount(root, { path, query }) {
    const picture = await pictureOf(path[1]);
    const networks = shownNetworks(query);
    const facts = await Promise.all(networks.map((each) =>
      Promise.all([data.geometry(each.id, picture.key), data.layers(each.id)])));
    const brush = explorer.brush(picture);
    const shown = new Map();
    const state = { hiding: false, way: "mean", size: 0.2, held: null };

    const panels = networks.map((network, place) => explorer.panel({
      network, picture, geometry: facts[place][0], layers: facts[place][1], alone: networks.length === 1,
      on: { pick: pick(network), versus: versus(network), layer: (name) => address.change({ [layerName(network)]: name }), point, leave, stroke },
    }));

    /* The hidden places' effect; while one answer is awaited, only the latest question is kept. */
    const refresh = latest(() => Promise.all(panels.map((each) => each.hide(brush, state.way))));

    /* A class becomes the target; the target itself gives way to the bare picture. */
    function pick(network) {
      return (chosen) => {
        const now = shown.get(network);
        const again = now && now.target && !now.against && now.target.target === chosen.target;
        address.change({ target: again ? "none" : chosen.target, against: "" });
      };
    }

    function versus(network) {
      return (chosen) => {
        const { target } = shown.get(network);
        address.change({ target: target.target, against: chosen ? chosen.target : "" });
      };
    }

    /* A click holds a place; another one holds its own, or where it is the same place lets go. */
    function point(place, pinned) {
      if (pinned) hold(state.held && near(place, state.held) ? null : place);
      for (const each of panels) each.point(place, (pinned || !state.held) && !state.hiding);
    }

    function near(one, other) {
      return Math.hypot(one.x - other.x, one.y - other.y) < SAME * Math.min(picture.width, picture.height);
    }

    function leave() {
      if (!state.held) for (const each of panels) each.leave();
    }

    function hold(place) {
      state.held = place;
      for (const each of panels) each.stage.held(place);
    }

    function stroke(place, phase) {
      if (phase === "end") return;
      if (phase === "start") brush.start(place, state.size);
      else brush.move(place, state.size);
      for (const each of panels) each.stage.strokes(brush.circles());
      tools.update();
      refresh();
    }

    function changed() {
      tools.update();
      refresh();
    }

    const tools = toolbar({ state, brush, panels, changed, networks });
    const onKey = (event) => {
      if (event.key === "Escape" && state.held) {
        hold(null);
        leave();
      }
      if (state.hiding && (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) {
        event.preventDefault();
        if (event.shiftKey) brush.redo();
        else brush.undo();
        changed();
      }
    };
    window.addEventListener("keydown", onKey);

    fill(root,
      el("div", { class: "heading" }, el("h1", { tabindex: "-1", text: picture.name }), factsOf(picture), neighbours(picture, query), tools.show),
      tools.element,
      el("div", { class: panels.length > 1 ? "panels two" : "panels" }, panels.map((each) => each.element)));

    async function update({ query: asked }) {
      const method = tools.method(asked.method);
      const found = await Promise.all(panels.map(async (each) => {
        const named = await each.answer(asked);
        const target = asked.target ? named.target : named.first;
        shown.set(each.network, { target, against: named.against });
        const layer = asked[layerName(each.network)] || "";
        each.layer(layer);
        each.ask({ target, against: named.against, layer }, method).catch(failed);
        return named;
      }));
      for (const part of ["target", "against"])
        if (asked[part] && asked[part] !== "none" && found.every((named) => !named[part]))
          say(`There is no class “${asked[part]}”: choose one of the bars, or look for another.`, { error: true });
      if (!brush.empty) refresh();
    }

    update({ path, query }).catch(failed);
    return {
      update,
      leave() {
        window.removeEventListener("keydown", onKey);
        for (const each of panels) each.stop();
      },
    };
  }

  /* The pictures before and after, asked the same. */
  function neighbours(picture, query) {
    const { pictures } = explorer.session;
    const place = pictures.findIndex((each) => each.key === picture.key);
    const link = (other, text, words) => other
      && el("a", { href: address.to.picture(other.key, { ...query, target: "", against: "" }), text, "aria-label": `${words} picture, ${other.name}` });
    if (place < 0 || pictures.length < 2) return null;
    return el("nav", { class: "choice", "aria-label": "Pictures" },
      link(pictures[place - 1], "← previous", "Previous"), link(pictures[place + 1], "next →", "Next"));
  }

  function factsOf(picture) {
    const said = [`${picture.width}×${picture.height} px`];
    if (picture.label) said.push(`labelled ${picture.label}`);
    return el("p", { class: "quiet", text: said.join(" · ") });
  }

  const layerName = (network) => (network.id ? `layer${network.id}` : "layer");

  /* What is chosen for all networks at once: method, opacity, and the brush. */
  function toolbar({ state, brush, panels, changed, networks }) {
    const { methods } = explorer.session;
    const find = (name) => methods.find((each) => each.name === name) || methods.find((each) => each.name === "gradcam") || methods[0];
    const summary = el("p", { class: "quiet summary" });
    const methodMenu = menu(methods.map((each) => [each.name, each.proper]), "", (name) => address.change({ method: name }));
    const opacity = el("input", { type: "range", min: "0", max: "100", value: "100", on: { input: () => panels.forEach((each) => each.stage.opacity(opacity.value / 100).catch(failed)) } });
    const asSaved = button("As saved", () => {
      opacity.value = 100;
      panels.forEach((each) => each.stage.opacity(null).catch(failed));
    }, { title: "The overlay exactly as a saved file shows it" });

    const modes = [["look", "Look"], ["hide", "Hide"]].map(([value, text]) =>
      el("label", {}, el("input", { type: "radio", name: "mode", value, checked: value === "look", on: { change: () => mode(value === "hide") } }), el("span", { text })));
    const way = menu([["mean", "the mean colour"], ["blur", "a blur"], ["black", "black"]], state.way, (value) => {
      state.way = value;
      changed();
    });
    const size = el("input", { type: "range", min: "2", max: "60", value: "20", on: { input: () => (state.size = size.value / 100) } });
    const undo = button("Undo", () => { brush.undo(); changed(); });
    const redo = button("Redo", () => { brush.redo(); changed(); });
    const clear = button("Show all", () => { brush.clear(); changed(); });
    const hideTools = el("div", { class: "row", hidden: true }, labelled("Hide with", way), labelled("Brush size", size), undo, redo, clear);

    function mode(hiding) {
      state.hiding = hiding;
      hideTools.hidden = !hiding;
      for (const each of panels) each.stage.hiding(hiding);
    }

    function update() {
      undo.disabled = !brush.undoable;
      redo.disabled = !brush.redoable;
      clear.disabled = brush.empty;
    }

    update();
    const element = el("div", { class: "toolbar", role: "group", "aria-label": "Map and brush" },
      el("div", { class: "row" },
        labelled("Method", methodMenu), labelled("Opacity", opacity), asSaved,
        el("fieldset", { class: "modes" }, el("legend", { class: "unseen", text: "What the pointer does" }), modes)),
      hideTools, summary);
    return {
      element,
      show: explorer.session.networks.length > 1 ? networkChoice(networks) : null,
      update,
      method(name) {
        const method = find(name);
        methodMenu.value = method.name;
        summary.textContent = method.summary;
        return method;
      },
    };
  }

  /* Which of two networks is shown, or both. */
  function networkChoice(shown) {
    const all = explorer.session.networks;
    const link = (text, network, current) =>
      el("a", { href: address.format(address.here().path, { ...address.here().query, network }), "aria-current": current ? "true" : null, text });
    return el("nav", { class: "choice", "aria-label": "Networks" },
      all.map((each) => link(each.name, each.id, shown.length === 1 && shown[0] === each)),
      link("side by side", "", shown.length === all.length));
  }

  explorer.views = explorer.views || {};
  explorer.views.picture = {
    identity: ({ path, query }) => `picture ${path[1]} ${query.network || ""}`,
    title: ({ path }) => (explorer.session.pictures.find((each) => each.key === path[1]) || { name: path[1] }).name,
    mount,
  };
  explorer.pictureOf = pictureOf;
})(window.Explorer);
