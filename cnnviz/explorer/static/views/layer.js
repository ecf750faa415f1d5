/* The layer view: the network as a strip, and the maps of all units of the chosen layer for a picture. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, menu, labelled, image, data, address } = explorer;
  const SORTS = [["response", "strongest response"], ["mean", "mean response"], ["contribution", "contribution to the class"], ["index", "index"]];
  const SCALES = [["own", "each unit's range"], ["shared", "one range for all"]];
  const SIZES = [["64", "small"], ["96", "medium"], ["160", "large"]];

  function networkOf(query) {
    const { networks } = explorer.session;
    return networks.find((each) => String(each.id) === query.network) || networks[0];
  }

  /* The picture that an address names, or the first. */
  async function chosenPicture(query) {
    const { pictures } = explorer.session;
    if (query.picture) return explorer.pictureOf(query.picture);
    if (!pictures.length) throw new Error("There is no picture yet: add one first.");
    return pictures[0];
  }

  /* The pictures to choose from; one of the data set stands besides when it is the chosen one. */
  function pictureMenu(picture) {
    const { pictures } = explorer.session;
    const choices = pictures.some((each) => each.key === picture.key) ? pictures : [...pictures, picture];
    return labelled("Picture", menu(choices.map((each) => [each.key, each.name]), picture.key, (key) => address.change({ picture: key })));
  }

  /* Units of a search: numbers, ranges, or nothing for all. */
  function searched(text, units) {
    const wanted = text.split(/[\s,]+/).filter(Boolean).map((part) => /^(\d+)(?:-(\d+))?$/.exec(part));
    if (!wanted.length) return null;
    if (wanted.includes(null)) throw new Error("Write units as numbers and ranges: 12, 40-50.");
    const found = [];
    for (const [, first, last = first] of wanted)
      for (let unit = Number(first); unit <= Math.min(Number(last), units - 1); unit++) found.push(unit);
    return [...new Set(found)];
  }

  function ordered(told, sort) {
    const values = { response: told.peak, mean: told.mean, contribution: told.contribution }[sort];
    const units = Array.from({ length: told.units }, (_, unit) => unit);
    return values ? units.sort((one, other) => values[other] - values[one] || told.mean[other] - told.mean[one] || one - other) : units;
  }

  async function mount(root, { path, query }) {
    const network = networkOf(query);
    const picture = await chosenPicture(query);
    const layers = await data.layers(network.id);
    const name = path[1];
    const layer = layers.find((each) => each.name === name);
    if (!layer) throw new Error(`${network.name} has no layer “${name}”: choose one of ${layers.map((each) => each.name).slice(0, 6).join(", ")}, …`);
    const [told, answered] = await Promise.all([
      data.units(network.id, picture.key, name, query.target, query.scale),
      data.classes(network.id, picture.key, [address.classOf(network, query.target)].filter((each) => each !== null)),
    ]);
    let sort = query.sort;
    const valueOf = (unit) => ({ mean: told.mean, contribution: told.contribution }[sort] || told.peak)[unit];
    const link = (unit) => address.to.unit(name, unit, { picture: picture.key, network: network.id || null });
    const grid = explorer.sheet({ sprite: told.sprite, size: Number(query.size) || 96, href: link, value: valueOf });
    const shades = told.sprite.signed ? "grey is 0, white positive, black negative" : "the brighter, the stronger";
    const nothing = el("p", { class: "missing", hidden: true });
    const shown = el("p", { class: "quiet", role: "status" });

    const sorts = SORTS.filter(([key]) => key !== "contribution" || told.contribution);
    const sortMenu = menu(sorts, sort || "response", (value) => address.change({ sort: value }));
    const sizeMenu = menu(SIZES, query.size || "96", (size) => address.change({ size: size === "96" ? "" : size }));
    const scaleMenu = menu(SCALES, query.scale || "own", (scale) => address.change({ scale: scale === "own" ? "" : scale }));
    const search = el("input", { type: "search", placeholder: "12, 40-50", on: { input: () => draw() } });
    const classMenu = menu(answered.classes.map((each) => [address.nameOf(network, each.index), each.label || `class ${each.index}`]),
      query.target || address.nameOf(network, answered.classes[0].index), (target) => address.change({ target }));
    const ofClass = labelled("Class", classMenu);

    function draw() {
      let units = ordered(told, sort);
      nothing.hidden = true;
      try {
        const wanted = searched(search.value, told.units);
        if (wanted) units = units.filter((unit) => wanted.includes(unit));
        if (!units.length) throw new Error(`This layer has units 0 to ${told.units - 1}.`);
      } catch (error) {
        nothing.textContent = error.message;
        nothing.hidden = false;
        units = [];
      }
      shown.textContent = units.length === told.units
        ? `${told.units} units${told.grid ? `, ${told.grid.join("×")} places each` : ""}; ${shades}`
        : `${units.length} of ${told.units} units; ${shades}`;
      grid.show(units);
    }

    fill(root,
      el("div", { class: "heading" },
        el("h1", { tabindex: "-1", text: name }),
        el("p", { class: "quiet", text: [network.name, ...explorer.facts(layer)].join(" · ") }),
        explorer.session.networks.length > 1 ? other(network) : null),
      explorer.strip(layers, name, (each) => address.to.layer(each, { ...address.here().query })),
      el("div", { class: "toolbar beside" },
        el("a", { href: address.to.picture(picture.key, { network: query.network }), class: "thumb" }, image(data.pictureUrl(picture.key, 256), `Picture ${picture.name}`)),
        el("div", {},
          el("div", { class: "row" }, pictureMenu(picture), labelled("Sorted by", sortMenu), ofClass, labelled("Units", search), labelled("Brightness", scaleMenu), labelled("Size", sizeMenu)),
          shown)),
      nothing,
      el("h2", { class: "unseen", text: "Units" }),
      grid.element);

    function update({ query: asked }) {
      sort = asked.sort || "response";
      sortMenu.value = sort;
      ofClass.hidden = sort !== "contribution";
      draw();
    }

    update({ query });
    return { update, leave: () => grid.leave() };
  }

  /* The same view of the other network, where it has such a layer; else its start. */
  function other(network) {
    return el("nav", { class: "choice", "aria-label": "Networks" }, explorer.session.networks.map((each) =>
      el("a", {
        href: each === network ? window.location.hash : address.to.layer(each.layer, { picture: address.here().query.picture, network: each.id }),
        "aria-current": each === network ? "true" : null,
        text: each.name,
      })));
  }

  explorer.views = explorer.views || {};
  explorer.views.layer = {
    identity: ({ path, query }) => `layer ${path[1]} ${query.picture || ""} ${query.network || ""} ${query.target || ""} ${query.size || ""} ${query.scale || ""}`,
    title: ({ path }) => path[1],
    mount,
  };
  Object.assign(explorer, { networkOf, chosenPicture, pictureMenu });
})(window.Explorer);
