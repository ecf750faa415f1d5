/* The unit page: everything that is known about one unit of a layer. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, image, button, data, address, number, percent, failed } = explorer;

  async function mount(root, { path, query }) {
    const [, layer, , name] = path;
    const unit = Number(name);
    const network = explorer.networkOf(query);
    const picture = await explorer.chosenPicture(query);
    if (!Number.isInteger(unit) || unit < 0) throw new Error(`“${name}” is no unit: units have numbers from 0.`);
    const layers = await data.layers(network.id);
    const known = layers.find((each) => each.name === layer);
    if (!known) throw new Error(`${network.name} has no layer “${layer}”.`);
    if (unit >= known.units) throw new Error(`${layer} has units 0 to ${known.units - 1}, so there is no unit ${unit}.`);
    const told = await data.unit(network.id, layer, unit, picture.key, query.target);
    const context = { network, picture, layer, unit, jobs: new Set() };
    const to = (other, from) => address.to.unit(from || layer, other, { ...query, picture: picture.key });

    const patches = el("section", { class: "group", "aria-labelledby": "patches-heading" });
    drawPatches(patches, told.patches, context).catch(failed);
    fill(root,
      el("div", { class: "heading" },
        el("h1", { tabindex: "-1", text: `Unit ${unit}` }),
        el("p", { class: "quiet" }, "of ", el("a", { href: address.to.layer(layer, { ...query, picture: picture.key }), text: layer }), ` · ${network.name}`),
        el("nav", { class: "choice", "aria-label": "Units" },
          unit > 0 ? el("a", { href: to(unit - 1), text: `← ${unit - 1}`, "aria-label": `Previous unit, ${unit - 1}` }) : null,
          unit + 1 < known.units ? el("a", { href: to(unit + 1), text: `${unit + 1} →`, "aria-label": `Next unit, ${unit + 1}` }) : null),
        explorer.pictureMenu(picture)),
      el("div", { class: "unit" },
        el("div", { class: "wide-part" }, el("div", { class: "pair" }, onPicture(told, context), making(context)), patches),
        el("div", { class: "slim-part" }, off(told), serves(told), kernel(told), neighbours(told, to))));
    return {
      update() {},
      leave() {
        for (const each of context.jobs) each.leave();
      },
    };
  }

  function part(title, ...children) {
    return el("section", { class: "group" }, el("h2", { text: title }), children);
  }

  /* The unit's map on the picture, the number under the pointer, and what made it. */
  function onPicture(told, { picture, unit, network }) {
    const readout = el("output", { class: "readout", text: " " });
    const source = explorer.source();
    const scale = el("div", {}, told.map && told.map.range ? explorer.colourScale(told.map) : null);
    source.show({ ...told.map, notes: told.notes });
    const shown = told.map ? image(data.shown(told.map.image, 1024), `Map of unit ${unit} on ${picture.name}`, { class: "unit-map" }) : null;
    if (shown && told.map.values && told.map.box) {
      let values = null;
      data.array(told.map.values).then((found) => (values = found), failed);
      shown.addEventListener("pointermove", (event) => {
        const frame = shown.getBoundingClientRect();
        const place = { x: ((event.clientX - frame.left) * picture.width) / frame.width, y: ((event.clientY - frame.top) * picture.height) / frame.height };
        const value = values && explorer.valueAt(told.map, values, place);
        readout.textContent = value === null ? " " : `x ${Math.floor(place.x)}, y ${Math.floor(place.y)} · response ${number(value)}`;
      });
    }
    return part(
      "On this picture",
      shown || el("p", { class: "quiet", text: "This layer has no places: its unit gives one number." }),
      el("p", { class: "under" },
        el("strong", { text: `Response ${number(told.value)}` }), ` on `,
        el("a", { href: address.to.picture(picture.key, { network: network.id || null, layer: told.layer }), text: picture.name })),
      scale, readout, source.notes, source.files, source.element,
    );
  }

  function off(told) {
    if (!told.off) return null;
    return part("Switched off",
      el("p", { class: "under", text: "How the answer to this picture changes when the unit is 0 everywhere." }),
      explorer.changeBars(told.off.classes, "Probabilities with the unit, and without it"));
  }

  function serves(told) {
    if (!told.classes || !told.classes.length) return null;
    return part("Classes it serves",
      el("p", { class: "under", text: "What it adds to each class's score." }),
      explorer.effectBars(told.classes, "Effect on classes"));
  }

  function kernel(told) {
    const drawn = told.kernel && told.kernel.image;
    const lists = [["Strongest inputs", told.inputs], ["Strongest outputs", told.outputs]].filter(([, entries]) => entries && entries.length);
    if (!drawn && !lists.length) return null;
    return part("Weights",
      lists.length ? el("p", { class: "under", text: "The sum of each connecting kernel; the strongest by its norm first." }) : null,
      drawn ? el("figure", { class: "kernel" }, image(told.kernel.image, "Its kernel", { class: "small" }),
        el("figcaption", { class: "under", text: [told.kernel.shape ? told.kernel.shape.join("×") : "", told.kernel.note || ""].filter(Boolean).join(" · ") })) : null,
      lists.map(([title, entries]) => el("div", {}, el("h3", { text: title }), weights(entries))));
  }

  function weights(entries) {
    const layers = new Set(entries.map((each) => each.layer));
    const common = layers.size === 1 ? entries[0].layer : null;
    return [
      common ? el("p", { class: "under", text: `in ${common}` }) : null,
      el("ul", { class: "links" }, entries.map((each) => el("li", {},
        el("span", {},
          each.layer
            ? el("a", { href: address.to.unit(each.layer, each.unit, address.along()), text: `Unit ${each.unit}` })
            : `Unit ${each.unit}`,
          each.layer && !common ? el("span", { class: "from", text: ` ${each.layer}` }) : null),
        el("span", { class: "value", text: number(each.weight) })))),
    ];
  }

  function neighbours(told, to) {
    if (!told.nearest || !told.nearest.length) return null;
    return part("Nearest units", told.nearest_by ? el("p", { class: "under", text: `Compared by their ${told.nearest_by}.` }) : null, el("ul", { class: "links" }, told.nearest.map((each) => el("li", {},
      el("a", { href: to(each.unit), text: `Unit ${each.unit}` }),
      el("span", { class: "value", text: number(each.similarity) })))));
  }

  const patch = (each, ...more) => el("li", {},
    image(each.image, `Patch of ${each.key}`, { class: "small" }), more,
    el("span", { class: "quiet", text: number(each.value), title: each.key }));

  /* Patches of the index with their projections, a sample of every tenth, and how strongly pictures drive the unit. */
  async function drawPatches(section, state, context) {
    const heading = el("h2", { id: "patches-heading", text: "Patches that activate it most" });
    if (!state || !state.ready) {
      fill(section, heading, scanning(section, state, context));
      return;
    }
    fill(section, heading, el("p", { class: "quiet", text: "Reading the patches …" }));
    const told = await data.patches(context.network.id, context.layer, context.unit);
    fill(section, heading,
      el("p", { class: "under", text: activity(told) }),
      el("ul", { class: "patches" }, told.tiles.map((each) => patch(each,
        each.projection ? image(each.projection, "What of it the unit responds to", { class: "small" }) : null))),
      told.tiles.some((each) => each.projection)
        ? el("p", { class: "under", text: "Below each patch: what of it the unit responds to (deconvnet)." }) : null,
      told.deciles && told.deciles.length ? [
        el("h3", { text: "From strong to weak" }),
        el("p", { class: "under", text: "A picture from each tenth of its responses." }),
        el("ul", { class: "patches" }, told.deciles.map((each) => patch(each)))] : null,
      told.histogram ? explorer.quantiles(told.histogram, "largest response per picture, weakest to strongest") : null,
      (told.notes || []).length ? el("ul", { class: "notes" }, told.notes.map((text) => el("li", { text }))) : null);
  }

  function activity({ active, mean, dead, preference }) {
    if (dead) return "It responds to none of the pictures.";
    const said = [];
    if (active !== undefined && active !== null) said.push(`Active in ${percent(active)} of the pictures`);
    if (mean !== undefined && mean !== null) said.push(`mean ${number(mean)}`);
    if (preference) said.push(`selectivity: ${preference}`);
    return said.join(" · ");
  }

  /* Without an index: scan the data set while a bar shows how far it is, or say how to have one. */
  function scanning(section, state, context) {
    const { session } = explorer;
    if (!state || !state.scannable || !data.live)
      return el("p", { class: "quiet", text: session.data || session.index
        ? "The index does not hold this layer, and there is no data set to look in."
        : "No data set was named: start the explorer with --data or --index to see them." });
    const body = el("div", {});
    const idle = () => fill(body,
      el("p", { class: "quiet", text: `Not looked for yet in ${session.data}.` }),
      button(`Scan ${session.data}`, start));
    async function start() {
      const { bar, job } = follow(context, { kind: "scan", network: context.network.id, layer: context.layer }, "Scanning");
      fill(body, bar);
      try {
        if ((await job.result).cancelled) return idle();
        await drawPatches(section, { ready: true }, context);
      } catch (error) {
        failed(error);
        idle();
      }
    }
    idle();
    return body;
  }

  /* A job with a bar and a button to cancel it. */
  function follow(context, question, words, onEvent) {
    const meter = el("progress", { "aria-label": words });
    const text = el("span", { text: `${words} …` });
    const bar = el("div", { class: "progress" }, meter, text, button("Cancel", () => job.cancel()));
    const job = data.job(question, (event) => {
      if (event.of) {
        meter.max = event.of;
        meter.value = event.progress;
        text.textContent = `${words} ${event.progress} of ${event.of}`;
      }
      if (onEvent) onEvent(event);
    });
    context.jobs.add(job);
    const done = () => context.jobs.delete(job);
    job.result.then(done, done);
    return { bar, job };
  }

  /* A picture made for the unit by gradient ascent, shown while it grows. */
  function making(context) {
    const body = el("div", { class: "making" });
    const source = explorer.source();
    const canvas = el("div", { class: "frame-of-made" });
    const idle = (words) => fill(body, words ? el("p", { class: "quiet", text: words }) : null, button("Make a picture", start));

    async function start() {
      let step = 0;
      source.show(null);
      const { bar, job } = follow(context, { kind: "maximize", network: context.network.id, layer: context.layer, unit: context.unit }, "Step",
        (event) => {
          step = event.progress || step;
          if (event.frame) show(event.frame, "The picture so far");
        });
      fill(body, bar);
      try {
        const { result, cancelled } = await job.result;
        if (result) await show(result.image, `Picture made for unit ${context.unit} of ${context.layer}`);
        canvas.dataset.done = cancelled ? "cancelled" : "whole";
        source.show(result);
        idle(cancelled ? `Cancelled after step ${step}.` : "");
      } catch (error) {
        failed(error);
        idle(error.message);
      }
    }

    /* Show a frame; one after the other, so that a late one never stands over a later one. */
    let shown = Promise.resolve();
    function show(url, alt) {
      const next = image(url, alt);
      shown = shown.then(() => next.ready).then(() => fill(canvas, next));
      return shown;
    }

    idle();
    return part("A picture made for it",
      el("p", { class: "under", text: "Changed step by step, from noise, until the unit responds most." }),
      canvas, body, source.notes, source.files, source.element);
  }

  explorer.views = explorer.views || {};
  explorer.views.unit = {
    identity: ({ path, query }) => `unit ${path[1]} ${path[3]} ${query.picture || ""} ${query.network || ""}`,
    title: ({ path }) => `Unit ${path[3]} of ${path[1]}`,
    mount,
  };
})(window.Explorer);
