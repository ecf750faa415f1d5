/* Beside every picture: what made it, to copy; what is to be known about it; and files of it. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, button, data, say, failed } = explorer;

  function copyable(title, text) {
    const copy = button("Copy", () => {
      const done = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject(new Error("no clipboard"));
      done.then(() => say(`${title} copied.`), () => selectAll(code));
    }, { "aria-label": `Copy the ${title.toLowerCase()}` });
    const code = el("code", { text });
    return el("div", { class: "copyable" }, el("h4", { text: title }), el("pre", {}, code), copy);
  }

  function selectAll(element) {
    window.getSelection().selectAllChildren(element);
    say("The text is selected: press Ctrl+C.");
  }

  /* A closed part that tells of an answer {id, command, python, notes}. */
  function source() {
    const body = el("div", { class: "source" });
    const element = el("details", { class: "made", hidden: true }, el("summary", { text: "How this picture was made" }), body);
    const files = el("p", { class: "files", hidden: true });
    const notes = el("ul", { class: "notes", hidden: true });

    function show(answer) {
      element.hidden = !answer || !(answer.command || answer.python);
      files.hidden = !answer || !answer.id;
      notes.hidden = !answer || !(answer.notes || []).length;
      if (!answer) return;
      fill(notes, (answer.notes || []).map((text) => el("li", { text })));
      fill(
        body,
        answer.command ? copyable("Command", answer.command) : null,
        answer.python ? copyable("Python", answer.python) : null,
      );
      if (!answer.id) return;
      const formats = ["png", "svg", "pdf"].map((format) =>
        button(format.toUpperCase(), () => data.figure(answer.id, format).catch(failed), {
          "aria-label": `Save the figure as ${format.toUpperCase()}`,
        }),
      );
      fill(files, el("span", { text: "Save figure" }), formats);
    }

    return { element, files, notes, show };
  }

  explorer.source = source;
})(window.Explorer);
