/* One network's side of the picture view: the picture with its map, classes, and the units at a place. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, menu, labelled, button, number, percent, data, latest, failed } = explorer;

  /* Options: network (of the session), picture, geometry, layers, alone (the only network),
     on: {pick, versus, layer, point, leave, stroke, unhold}. */
  function panel(options) {
    const { network, picture, geometry, layers, on } = options;
    const spatial = layers.filter((layer) => layer.spatial);
    const stage = explorer.stage({ picture, geometry, name: options.alone ? "" : network.name, on });
    const source = explorer.source();
    const caption = el("p", { class: "under caption" });
    const readout = el("output", { class: "readout", text: " " });
    const scale = el("div", { class: "map-scale" });
    const progress = el("div", { class: "progress", hidden: true });
    const bars = explorer.classBars({ pick: on.pick, versus: on.versus });
    const layerMenu = menu([["", `automatic (${network.layer})`], ...spatial.map((layer) => [layer.name, layer.name])], "", on.layer);
    const where = el("p", { class: "under", text: "Point at the picture, or move over it with the arrow keys; a click holds the place." });
    const units = el("ol", { class: "units", "aria-label": "Strongest units at this place" });
    const other = explorer.classSearch(network, on.pick);

    const element = el(
      "section",
      { class: options.alone ? "panel alone" : "panel", "aria-label": network.name },
      el("div", { class: "left" },
        options.alone ? null : el("h2", { text: network.name }),
        el("div", { class: "over" }, stage.element, progress), readout, caption, scale, source.notes, source.files, source.element),
      el("div", { class: "right" },
        el("section", { class: "group" }, el(options.alone ? "h2" : "h3", { text: "Classes" }), el("p", { class: "under", text: "Click a class for its map, or vs for what separates the target from it." }), bars.element, other),
        el("section", { class: "group" },
          el("div", { class: "place-head" }, el(options.alone ? "h2" : "h3", { text: "At this place" }), labelled("Layer", layerMenu)),
          where, units)),
    );

    element.style.setProperty("--w", picture.width);
    element.style.setProperty("--h", picture.height);
    let told = { classes: [], kind: "classes" };
    let hidden = false;
    let map = null;
    let values = null;
    let job = null;
    let question = "";
    let layer = network.layer;
    let point = null;
    let placed = "";

    /* The classes of the answer, and those that an address names: {target, against}, null where it names none. */
    async function answer({ target, against }) {
      const named = [target, against].map((name) => (name === "none" ? null : explorer.address.classOf(network, name)));
      const first = await data.classes(network.id, picture.key, []);
      const known = first.classes.map((each) => each.index);
      const also = named.filter((index) => index !== null && !known.includes(index));
      told = also.length ? await data.classes(network.id, picture.key, also) : first;
      if (!hidden) bars.show(told.classes, told.kind);
      const find = (name, index) =>
        told.classes.find((each) => each.target === name) || told.classes.find((each) => each.index === index && index !== null) || null;
      return { first: told.classes[0] || null, target: find(target, named[0]), against: find(against, named[1]) };
    }

    /* Show the map of a question {method, target, against, layer}; target null shows the bare picture. */
    async function ask(asked, method) {
      if (job) job.leave();
      job = null;
      progress.hidden = true;
      const parts = { method: method.name, layer: method.needs_layer ? asked.layer : "", target: targetOf(asked) };
      const own = (question = JSON.stringify(parts));
      bars.choose(asked.target, asked.against);
      if (!asked.target) return draw(null, method);
      stage.element.classList.add("busy");
      stage.element.setAttribute("aria-busy", "true");
      try {
        const found = isQuick(method)
          ? await data.map(network.id, picture.key, parts)
          : await slowly({ kind: "map", network: network.id, picture: picture.key, ...parts }, method);
        if (own === question) await draw(found, method, asked);
      } catch (error) {
        if (own === question) {
          await draw(null, method);
          caption.textContent = error.message;
          caption.classList.add("missing");
        }
      } finally {
        if (own === question) {
          stage.element.classList.remove("busy");
          stage.element.removeAttribute("aria-busy");
        }
      }
    }

    function targetOf({ target, against }) {
      if (!target) return "";
      return against ? `${target.index}-${against.index}` : target.target;
    }

    /* A map that takes long, as a job that shows how far it is and can be cancelled. */
    async function slowly(asked, method) {
      const bar = el("progress", { "aria-label": `${method.proper} in progress` });
      fill(progress, bar, el("span", { text: `${method.proper} …` }), button("Cancel", () => own.cancel()));
      progress.hidden = false;
      const own = data.job(asked, (event) => {
        if (!event.of) return;
        bar.max = event.of;
        bar.value = event.progress;
      });
      job = own;
      const { result } = await own.result;
      if (job === own) {
        job = null;
        progress.hidden = true;
      }
      return result;
    }

    async function draw(found, method, asked) {
      map = found;
      values = null;
      await stage.show(found);
      source.show(found);
      caption.classList.remove("missing");
      fill(caption, found ? describe(found, method, asked) : "");
      fill(scale, found && found.range ? explorer.colourScale(found) : null);
      if (found && found.values) values = await data.array(found.values);
      read();
    }

    function describe(found, method, { target, against }) {
      const of = against ? `${target.label} rather than ${against.label}` : found.target;
      const said = [];
      if (found.layer) said.push(`at ${found.layer}`);
      if (found.score !== null && found.score !== undefined) said.push(`score ${number(found.score)}`);
      if (found.probability !== null && found.probability !== undefined) said.push(`probability ${percent(found.probability)}`);
      if (found.blank) said.push("zero everywhere");
      return [el("strong", { text: method.needs_target ? `${method.proper} for ${of}` : method.proper }), ` ${said.join(" · ")}`];
    }

    /* The numbers under the pointer. */
    function read() {
      if (!point) return;
      const said = [`x ${Math.floor(point.x)}, y ${Math.floor(point.y)}`];
      if (map && values) {
        const value = valueAt(map, values, point);
        said.push(value === null ? "outside the map" : `map ${number(value)}`);
      }
      if (!point.input) said.push("outside what the network saw");
      readout.textContent = said.join(" · ");
    }

    /* The units at a place of the picture: its field is outlined, they are listed. */
    const look = latest(async (place) => {
      if (!place.input) return;
      const [x, y] = place.input.map((value) => Math.floor(value));
      const found = await data.place(network.id, picture.key, layer, x, y);
      if (!point) return;
      stage.outline(found.box);
      const key = `${layer} ${found.position}`;
      if (key === placed) return;
      placed = key;
      list(found);
    });

    function list(found) {
      const [row, column] = found.position;
      where.textContent = `Row ${row}, column ${column} of ${layer}: its units see ${sizeOf(found.box)} of the input.`;
      const most = Math.max(...found.units.map((each) => Math.abs(each.value)), 1e-12);
      fill(units, found.units.map((each) => {
        const level = el("span", { class: each.value < 0 ? "level down" : "level" });
        level.style.width = `${(100 * Math.abs(each.value)) / most}%`;
        const href = explorer.address.to.unit(layer, each.unit, { picture: picture.key, network: network.id || null });
        return el("li", {},
          el("a", { href, text: `Unit ${each.unit}` }),
          el("span", { class: "track", "aria-hidden": "true" }, level),
          el("span", { class: "value", text: number(each.value) }));
      }));
    }

    return {
      element,
      network,
      stage,
      answer,
      ask,
      async hide(brush, way) {
        stage.strokes(brush.circles());
        hidden = !brush.empty;
        if (!hidden) {
          bars.show(told.classes, told.kind);
          return stage.masked(null);
        }
        const held = brush.circles().length;
        const also = told.classes.slice(10).map((each) => each.index);
        const answered = await data.hide(network.id, picture.key, { strokes: brush.of(geometry), fill: way, also });
        if (brush.empty) return;
        bars.show(answered.classes, told.kind);
        if (answered.picture) await stage.masked(answered.picture);
        stage.strokes(answered.picture ? brush.circles().slice(held) : brush.circles());
      },
      point(place, look_too) {
        point = place;
        read();
        if (look_too) look(place);
      },
      leave() {
        if (!point) return;
        point = null;
        readout.textContent = " ";
        stage.outline(null);
      },
      layer(name) {
        layer = name || network.layer;
        layerMenu.value = name || "";
        placed = "";
        if (point) look(point);
      },
      stop() {
        if (job) job.leave();
      },
    };
  }

  /* Whether a method answers while one waits; any other is a job that can be cancelled. */
  function isQuick(method) {
    return method.seconds !== null ? method.seconds <= 2 : /^[12] forwards?(,[^,]*backwards?\b.*)?$/.test(method.cost);
  }

  function sizeOf(box) {
    return `${box[2] - box[0]}×${box[3] - box[1]} px`;
  }

  /* The value of an array under a place of the picture; null where it has none. */
  function valueAt({ box, shape }, values, { x, y }) {
    const [height, width] = shape.slice(-2);
    const column = Math.floor(((x - box[0]) * width) / (box[2] - box[0]));
    const row = Math.floor(((y - box[1]) * height) / (box[3] - box[1]));
    if (row < 0 || column < 0 || row >= height || column >= width) return null;
    const value = values[row * width + column];
    return Number.isNaN(value) ? null : value;
  }

  /* A field that finds any class by its label. */
  function classSearch(network, pick) {
    const names = `classes-of-${network.id}`;
    const field = el("input", { type: "text", list: names, autocomplete: "off", spellcheck: "false" });
    const form = el("form", {
      class: "row",
      on: {
        submit: (event) => {
          event.preventDefault();
          const index = explorer.address.classOf(network, field.value.trim());
          if (index === null) return failed(new Error(`${network.name} has no class “${field.value.trim()}”.`));
          field.value = "";
          pick({ index, target: explorer.address.nameOf(network, index) });
        },
      },
    }, labelled("Another class", field), el("button", { type: "submit", text: "Show" }));
    const choices = el("datalist", { id: names });
    field.addEventListener("focus", () => {
      if (!choices.childElementCount) fill(choices, network.labels.map((label) => el("option", { value: label })));
    });
    return el("div", {}, form, choices);
  }

  Object.assign(explorer, { panel, classSearch, valueAt });
})(window.Explorer);
