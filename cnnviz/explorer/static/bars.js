/* Classes as bars: probabilities, what they were before, and buttons that choose one or two of them. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, percent, number } = explorer;

  /* A bar from 0 to 1, with a line where it was before. */
  function track(value, before) {
    const made = el("span", { class: "track", "aria-hidden": "true" });
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

  /* How a probability moved, in words and as a number. */
  function moved(before, after) {
    return before === after ? percent(after) : `${percent(before)} → ${percent(after)}`;
  }

  /* The classes of one network's answer.
     Options: target and against (indices or null), pick(index), versus(index). */
  function classBars(options) {
    const list = el("ol", { class: "bars", "aria-label": "Classes, most probable first" });
    let shown = [];
    let chosen = { target: null, against: null };

    function row(each) {
      const changed = each.after !== undefined;
      const value = changed ? each.after : each.probability;
      const name = each.label || `class ${each.index}`;
      const isTarget = each.index === chosen.target;
      const isOther = each.index === chosen.against;
      const press = el(
        "button",
        {
          type: "button",
          class: "bar",
          "aria-pressed": String(isTarget || isOther),
          "data-index": each.index,
          on: { click: () => options.pick(each.index) },
        },
        el("span", { class: "name", text: name }),
        track(value, changed ? each.before : null),
        el("span", { class: "value", text: changed ? moved(each.before, each.after) : percent(value) }),
      );
      const versus = el("button", {
        type: "button",
        class: "versus",
        text: "vs",
        title: `What speaks for the target rather than for ${name}`,
        "aria-label": `Compare the target with ${name}`,
        "aria-pressed": String(isOther),
        hidden: chosen.target === null || isTarget,
        on: { click: () => options.versus(isOther ? null : each.index) },
      });
      return el("li", { class: isTarget ? "target" : isOther ? "against" : null }, press, versus);
    }

    function draw() {
      const active = list.contains(document.activeElement) ? document.activeElement : null;
      const focus = active && { index: active.closest("li").querySelector(".bar").dataset.index, of: active.className };
      fill(list, shown.map(row));
      if (focus) {
        const again = list.querySelector(`.bar[data-index="${focus.index}"]`);
        const place = again && again.closest("li").querySelector(`.${focus.of}`);
        if (place) place.focus({ preventScroll: true });
      }
    }

    return {
      element: list,
      show(classes) {
        shown = classes;
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

  /* Probabilities before and after, without buttons. */
  function changeBars(entries, label) {
    const rows = entries.map((each) =>
      el(
        "li",
        {},
        el("span", { class: "name", text: each.label || `class ${each.index}` }),
        track(each.after, each.before),
        el("span", { class: "value", text: moved(each.before, each.after) }),
      ),
    );
    return el("ol", { class: "bars plain", "aria-label": label }, rows);
  }

  /* Counts of values as columns, the axis' ends below. */
  function histogram({ edges, counts }, label) {
    const most = Math.max(...counts, 1);
    const columns = counts.map((count, place) => {
      const column = el("span", { title: `${number(edges[place])} to ${number(edges[place + 1])}: ${count}` });
      column.style.height = `${count ? Math.max(3, (100 * count) / most) : 0}%`;
      return column;
    });
    return el(
      "figure",
      { class: "histogram" },
      el("div", { class: "columns", role: "img", "aria-label": label }, columns),
      el(
        "figcaption",
        { class: "ends" },
        el("span", { text: number(edges[0]) }),
        el("span", { text: label }),
        el("span", { text: number(edges[edges.length - 1]) }),
      ),
    );
  }

  Object.assign(explorer, { classBars, effectBars, changeBars, histogram });
})(window.Explorer);
