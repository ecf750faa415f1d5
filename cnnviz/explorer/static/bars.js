/* Classes as bars: probabilities, what they were before, and buttons that choose one or two of them. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, percent, number } = explorer;

  /* A bar from 0 to 1, with a line where it was before. */
  function track(value, before) {
    const made = el("span", { class: "track", "aria-hidden": "true" });
    if (value === null) return made;
    const inside = el("span", { class: "level" });
    inside.style.width = `${100 * Math.min(1, Math.max(0, value))}%`;
    made.append(inside);
    if (before !== undefined && before !== null) {
      const line = el("span", { class: "before" });
      line.style.left = `${100 * Math.min(1, Math.max(0, before))}%`;
      made.append(line);
    }
    return made;
  }

  const same = (one, other) => Boolean(one && other) && one.target === other.target;

  /* From 0 to 1: a probability, or the share of a picture that an area covers; null where the answer is a number. */
  function levelOf({ probability, share }) {
    return probability !== null && probability !== undefined ? probability : share === undefined ? null : share;
  }

  function spell(answer) {
    const level = levelOf(answer);
    return level === null ? `${number(answer.logit)}${answer.unit ? ` ${answer.unit}` : ""}` : percent(level);
  }

  /* An answer before and after, where it moved. */
  function moved(before, after) {
    return spell(before) === spell(after) ? spell(after) : `${spell(before)} → ${spell(after)}`;
  }

  /* The classes of one network's answer.
     Options: pick(class), versus(class or null). Classes of an answer may be areas or boxes of a picture instead. */
  function classBars(options) {
    const list = el("ol", { class: "bars", "aria-label": "Classes, most probable first" });
    let shown = [];
    let chosen = { target: null, against: null };
    let comparable = true;

    function row(each) {
      const changed = each.after !== undefined;
      const name = each.label || `class ${each.index}`;
      const isTarget = same(each, chosen.target);
      const isOther = same(each, chosen.against);
      const press = el(
        "button",
        {
          type: "button",
          class: "bar",
          "aria-pressed": String(isTarget || isOther),
          "data-target": each.target,
          on: { click: () => options.pick(each) },
        },
        el("span", { class: "name", text: name }),
        track(levelOf(changed ? each.after : each), changed ? levelOf(each.before) : null),
        el("span", { class: "value", text: changed ? moved(each.before, each.after) : spell(each) }),
      );
      const versus = el("button", {
        type: "button",
        class: "versus",
        text: "vs",
        title: `What speaks for the target rather than for ${name}`,
        "aria-label": `Compare the target with ${name}`,
        "aria-pressed": String(isOther),
        hidden: !chosen.target || isTarget || !comparable,
        on: { click: () => options.versus(isOther ? null : each) },
      });
      return el("li", { class: isTarget ? "target" : isOther ? "against" : null }, press, versus);
    }

    function draw() {
      const active = list.contains(document.activeElement) ? document.activeElement : null;
      const focus = active && { target: active.closest("li").querySelector(".bar").dataset.target, of: active.className };
      fill(list, shown.map(row));
      if (focus) {
        const again = [...list.querySelectorAll(".bar")].find((each) => each.dataset.target === focus.target);
        const place = again && again.closest("li").querySelector(`.${focus.of}`);
        if (place) place.focus({ preventScroll: true });
      }
    }

    return {
      element: list,
      show(classes, kind) {
        shown = classes;
        comparable = kind === "classes";
        draw();
      },
      choose(target, against) {
        chosen = { target, against };
        draw();
      },
    };
  }

  /* Classes with a number that may be negative: how much a unit adds to each. */
  function effectBars(entries, label) {
    const most = Math.max(...entries.map((each) => Math.abs(each.effect)), 1e-12);
    const rows = entries.map((each) => {
      const inside = el("span", { class: each.effect < 0 ? "level down" : "level up" });
      inside.style.width = `${(50 * Math.abs(each.effect)) / most}%`;
      return el(
        "li",
        {},
        el("span", { class: "name", text: each.label || `class ${each.index}` }),
        el("span", { class: "track signed", "aria-hidden": "true" }, inside),
        el("span", { class: "value", text: `${each.effect > 0 ? "+" : ""}${number(each.effect)}` }),
      );
    });
    return el("ol", { class: "bars plain", "aria-label": label }, rows);
  }

  /* How the score moved, which tells more where a probability is near 0 or 1. */
  function scoreChange({ before, after }) {
    const change = after.logit - before.logit;
    return el("span", { class: "quiet", text: `score ${change > 0 ? "+" : ""}${number(change)}` });
  }

  /* Probabilities before and after, without buttons. */
  function changeBars(entries, label) {
    const rows = entries.map((each) =>
      el(
        "li",
        {},
        el("span", { class: "name", text: each.label || `class ${each.index}` }),
        track(levelOf(each.after), levelOf(each.before)),
        el("span", { class: "value" }, moved(each.before, each.after), scoreChange(each)),
      ),
    );
    return el("ol", { class: "bars plain", "aria-label": label }, rows);
  }

  /* What a map's colours mean: {range, colours (from low to high), unit}. */
  function colourScale({ range, colours, unit }) {
    const ground = el("div", { class: "colours", "aria-hidden": "true", hidden: !colours });
    if (colours) ground.style.backgroundImage = `linear-gradient(to right, ${colours.join(", ")})`;
    return [
      ground,
      el("p", { class: "scale" },
        el("span", { text: number(range[0]) }), el("span", { text: unit || "" }), el("span", { text: number(range[1]) })),
    ];
  }

  /* Quantiles {levels, values} as columns: how strongly the weakest to the strongest picture drives a unit. */
  function quantiles({ levels, values }, label) {
    const most = Math.max(...values, 1e-12);
    const columns = values.map((value, place) => {
      const column = el("span", { title: `${percent(levels[place])} of the pictures: at most ${number(value)}` });
      column.style.height = `${(100 * Math.max(0, value)) / most}%`;
      return column;
    });
    return el("figure", { class: "quantiles" },
      el("div", { class: "columns", role: "img", "aria-label": `${label}: from ${number(values[0])} to ${number(values[values.length - 1])}` }, columns),
      el("figcaption", { class: "ends" },
        el("span", { text: number(values[0]) }), el("span", { text: label }), el("span", { text: number(values[values.length - 1]) })));
  }

  Object.assign(explorer, { classBars, effectBars, changeBars, colourScale, quantiles });
})(window.Explorer);
