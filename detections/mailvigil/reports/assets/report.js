"use strict";
// The page's findings: filter, pages, copies. All text goes in as text, never as HTML.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 25;
  const MOST_PRINTED = 200;
  const RECORD_COLUMNS = [
    "Time (UTC)", "User", "Mailbox", "Address", "Access", "Operations", "Record id", "Client",
  ];
  const RECORD_ID = RECORD_COLUMNS.indexOf("Record id");
  const byId = (id) => document.getElementById(id);
  const list = byId("list");
  let matched = data.findings;
  let page = 0;

  function make(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function items(kind, texts) {
    return make(kind, null, ...texts.map((text) => make("li", null, text)));
  }

  function shortened(texts, most) {
    if (!texts.length) return "none in the records";
    const rest = texts.length - most;
    return texts.slice(0, most).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
  }

  function number(value) {
    return value.toLocaleString("en");
  }

  function copyButton(label, text) {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", () => copy(button, text()));
    return button;
  }

  async function copy(button, text) {
    const label = button.textContent;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = copyBySelection(text);
    }
    button.textContent = done ? "Copied" : "Not copied: the browser refused";
    setTimeout(() => { button.textContent = label; }, 1500);
  }

  function copyBySelection(text) {
    const area = make("textarea", { class: "off", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  function facts(found) {
    const pairs = [
      ["First access", found.first], ["Last access", found.last],
      ["First alert", found.alert],
      ["Volume", `${number(found.operations)} operations in ${number(found.records)} records`],
      ["Caller", shortened(found.callers, 10)], ["Protocol", shortened(found.protocols, 10)],
      ["Mailboxes", shortened(found.mailboxes, 100)], ["Users", shortened(found.users, 20)],
      ["Addresses", shortened(found.addresses, 20)], ["Sessions", shortened(found.sessions, 10)],
      ["Finding id", found.id],
    ];
    const rows = pairs.map(([name, value]) => [make("dt", null, name), make("dd", null, value)]);
    return make("dl", { class: "facts" }, ...rows.flat());
  }

  function records(found) {
    const head = make("tr", null, ...RECORD_COLUMNS.map((c) => make("th", { scope: "col" }, c)));
    const rows = found.sample.map((cells) =>
      make("tr", null, ...cells.map((cell) =>
        make("td", { class: String(cell).length > 40 ? "long" : "short" }, String(cell)))));
    const caption = found.sample.length < found.records
      ? `The first ${number(found.sample.length)} of ${number(found.records)} records`
      : `All ${number(found.records)} records`;
    const table = make("table", null, make("caption", null, caption),
      make("thead", null, head), make("tbody", null, ...rows));
    return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
      table);
  }

  function body(found) {
    const rule = data.rules[found.rule];
    const ids = () => found.sample.map((cells) => cells[RECORD_ID]).join("\n");
    return make("div", { class: "body" },
      make("h3", null, "Why it fired"), make("p", null, found.why),
      make("p", { class: "note" }, `${rule.description} (${found.rule} ${rule.version})`),
      facts(found),
      make("h3", null, "What to do next"), items("ol", rule.triage),
      make("h3", null, "What it does not prove"),
      make("p", null, "It may be harmless:"), items("ul", rule.falsepositives),
      make("p", null, "The rule does not see:"), items("ul", rule.misses),
      make("h3", null, "Records"), records(found),
      make("p", null, copyButton("Copy record ids", ids), " ",
        copyButton("Copy finding id", () => found.id)));
  }

  function card(found, open) {
    const severity = found.severity.toLowerCase();
    const title = make("summary", null,
      make("span", { class: `badge ${severity}` }, found.severity),
      make("span", { class: "what" },
        make("span", { class: "title" }, data.rules[found.rule].title),
        make("span", { class: "who" }, shortened(found.callers, 3)),
        make("span", { class: "when" },
          `${found.first} · ${number(found.operations)} operations · `
          + `mailboxes: ${shortened(found.mailboxes, 2)}`)));
    const made = make("details", { class: `finding ${severity}`, id: `f-${found.id}` }, title);
    const fill = () => { if (made.children.length < 2) made.append(body(found)); };
    made.addEventListener("toggle", fill);
    if (open) {
      fill();
      made.open = true;
    }
    return made;
  }

  function words(found) {
    if (!found.words) {
      found.words = JSON.stringify([found, data.rules[found.rule].title]).toLowerCase();
    }
    return found.words;
  }

  function filter() {
    const text = byId("text").value.trim().toLowerCase();
    const severity = byId("severity").value;
    const rule = byId("rule").value;
    matched = data.findings.filter((found) =>
      (!severity || found.severity === severity) && (!rule || found.rule === rule)
      && (!text || words(found).includes(text)));
    page = 0;
    show();
  }

  function show() {
    const pages = Math.max(1, Math.ceil(matched.length / PAGE));
    const from = page * PAGE;
    const open = matched.length === 1 || data.findings.length <= 1;
    const some = matched.slice(from, from + PAGE);
    list.replaceChildren(...some.map((found) => card(found, open)));
    byId("count").textContent = matched.length
      ? `${number(from + 1)} to ${number(from + some.length)} of ${number(matched.length)}`
        + (matched.length < data.findings.length ? ` (${number(data.findings.length)} in all)` : "")
      : `None of ${number(data.findings.length)} findings matches.`;
    byId("page").textContent = `Page ${number(page + 1)} of ${number(pages)}`;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
  }

  function turn(by) {
    page += by;
    show();
    byId("findings").focus();
    byId("findings").scrollIntoView();
  }

  function openForPrint() {
    const some = matched.slice(0, MOST_PRINTED);
    list.replaceChildren(...some.map((found) => card(found, true)));
    byId("count").textContent = some.length < matched.length
      ? `Printed are the first ${number(some.length)} of ${number(matched.length)} findings.`
      : `All ${number(matched.length)} findings.`;
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.dataset.closed = "";
      details.open = true;
    }
  }

  function closeAfterPrint() {
    for (const details of document.querySelectorAll("details[data-closed]")) {
      delete details.dataset.closed;
      details.open = false;
    }
    show();
  }

  function draw() {
    const config = {
      background: null, view: { stroke: null },
      font: "system-ui, sans-serif",
      axis: {
        labelColor: "var(--ink)", domainColor: "var(--line)", gridColor: "var(--line)",
        tickColor: "var(--line)", labelFontSize: 12,
      },
    };
    for (const [id, spec] of Object.entries(data.charts)) {
      const place = byId(id);
      // What it shows is said by the place's label and by the table below it.
      const drawing = make("div", { "aria-hidden": "true" });
      place.append(drawing);
      vegaEmbed(drawing, { ...spec, config }, {
        mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false,
        tooltip: { disableDefaultStyle: true },
        // It warns of a domain that is given for x and not for x2, which is meant.
        logLevel: vega.Error,
      }).then(() => { place.dataset.drawn = ""; }, (error) => { place.textContent = String(error); });
    }
  }

  if (list) {
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
    byId("text").addEventListener("input", filter);
    byId("severity").addEventListener("change", filter);
    byId("rule").addEventListener("change", filter);
    byId("previous").addEventListener("click", () => turn(-1));
    byId("next").addEventListener("click", () => turn(1));
    byId("copy").addEventListener("click", (event) =>
      copy(event.currentTarget, matched.map((found) => found.id).join("\n")));
    addEventListener("beforeprint", openForPrint);
    addEventListener("afterprint", closeAfterPrint);
    show();
  }
  draw();
})();
