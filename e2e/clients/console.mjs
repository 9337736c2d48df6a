// Uses the console as an operator would, in Chromium: console.mjs SERVER APPLICATION TOKEN CHROMIUM FOLDER. The
// application does what POST APPLICATION/word says (console_test.go). Screenshots go to FOLDER. It fails with the first
// thing that is not as it should be. The page's data attributes are listed in its index.html.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { check, complaintsOf, DESKTOP, launch, newContext, PHONE } from "./browser.mjs";

const [server, application, token, executablePath, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await launch(executablePath);
const context = await newContext(browser);
const page = await context.newPage();

const complaints = complaintsOf(page);
const foreign = [];
page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
page.on("request", (r) => r.url().startsWith(server) || foreign.push(r.url()));

// --- what an operator sees and does

const seen = (selector) => page.locator(selector).first().waitFor({ state: "visible" });
const gone = (selector) => page.locator(selector).first().waitFor({ state: "detached" });
const click = (selector) => page.locator(selector).first().click();
const session = (user, rest = "") => `[data-session^="${user}@localhost/"] ${rest}`;
const contact = (text) => `[data-user] [data-contact]:has-text("${text}")`;
const line = (kind, text) => `[data-feed] [data-kind="${kind}"]:has-text("${text}")`;

async function tell(word) {
  const response = await fetch(`${application}/${word}`, { method: "POST" });
  check(response.ok, `the application does not know ${word}`);
}

async function notify(...users) {
  const headers = { Authorization: `Bearer ${token}` };
  const response = await fetch(`${server}/roster_admin/refresh`, { method: "POST", headers, body: JSON.stringify(users) });
  return response.json();
}

async function signIn(what) {
  await page.locator('[data-field="token"]').fill(what);
  await page.keyboard.press("Enter");
}

async function show(user) {
  await click(session(user, '[data-action="show"]'));
  await seen(`[data-user="${user}@localhost"] [data-contact]`);
}

// accessible lets axe-core look for what would keep people out.
async function accessible(where) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
  const list = found.violations.map((v) => `${v.id}: ${v.help}\n  ${v.nodes.map((n) => `${n.html} ${n.failureSummary}`).join("\n  ")}`);
  check(list.length === 0, `${where}: axe-core says\n${list.join("\n")}`);
}

async function withoutScrolling() {
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(content <= width, `the page is ${content} px wide in a window of ${width}`);
}

async function photograph(name) {
  await page.evaluate(() => document.activeElement?.blur());
  await page.mouse.move(0, 0);
  await page.screenshot({ path: `${folder}/${name}.png` });
}

// --- the visit

const visit = {
  async "without a token nothing is shown, and a wrong one is told"() {
    await page.goto(`${server}/console`); // the slash is added
    await seen("[data-sign-in]");
    check(page.url() === `${server}/console/`, `the page is at ${page.url()}`);
    await accessible("the form");
    await signIn("wrong");
    await seen('[data-slot="why"]:has-text("token")');
    check(!(await page.locator("main[data-console]").isVisible()), "the console is shown without a token");
    complaints.length = 0; // of the 401s
  },

  async "with the token, hosts and clients are there"() {
    await signIn(token);
    await seen('body[data-live="on"]');
    await seen('[data-host="localhost"][data-state="ok"]');
    for (const user of ["alice", "bob", "carol"]) await seen(session(user));
    check((await page.locator(session("alice")).count()) > 0, "alice is not there");
    await seen(`${session("alice")}:has-text("WebSocket")`);
    await seen(`${session("bob")}:has-text("TLS 1.3")`);
    await seen(`${session("bob")}:has-text("127.0.0.1")`);
    for (const what of ["since", "idle"]) {
      const shown = await page.locator(session("bob", `[data-slot="${what}"]`)).first().textContent();
      check(/^\d+ (s|min)$/.test(shown), `bob's ${what} is ${shown}`);
    }
    check(!(await page.content()).includes(token), "the token is in the page");
    await page.reload(); // the tab keeps it
    await seen(session("alice"));
  },

  async "a roster is shown as it is served, with what was left out"() {
    await show("alice");
    await seen(contact("Bob Okafor"));
    await seen('[data-user] [data-slot="facts"]:has-text("Version")');
    await seen('[data-user] [data-slot="dropped"]:has-text("1 contact of the document left out")');
    await seen('[data-user] [data-slot="online"]:has-text("2 clients")');
  },

  async "a refresh brings what the application forgot to tell"() {
    await tell("rename");
    await click('[data-action="refresh"]');
    await seen('[data-slot="outcome"][data-state="ok"]:has-text("1 altered")');
    await seen(contact("Robert Okafor"));
    await seen(line("notification", "alice"));
  },

  async "a notification is seen live, and the roster that is open follows"() {
    await show("bob");
    await tell("mischief");
    const answer = await notify("bob");
    check(answer.status === "ok", JSON.stringify(answer));
    await seen(line("notification", "bob"));
    await seen(contact("<script>document.title='XSS'</script>"));
    await seen('[data-user] .group-name:has-text("<b>bold</b>")');
    check(!(await page.title()).includes("XSS"), "a contact's name was run");
    check((await page.locator("main img, main script, main b b").count()) === 0, "a contact's name became HTML");
  },

  async "removals that are held are seen, and confirmed in two steps"() {
    await show("carol");
    await tell("lose");
    await notify("carol");
    await seen('[data-host="localhost"] [data-slot="held"]:has-text("1")');
    await seen('[data-user] [data-slot="held"]:has-text("42 contacts")');
    await seen(`${line("notification", "carol")}[data-state="held"]`);
    await seen('.held-list button:has-text("carol")');
    await photograph("console-held");
    await click('[data-action="confirm"]');
    check((await page.locator("[data-user] [data-contact]").count()) > 40, "one press was enough");
    await click('[data-action="really-confirm"]');
    await gone('[data-user] [data-contact="patient1@localhost"]');
    await page.locator('[data-slot="held-box"]').waitFor({ state: "hidden" });
    await gone(".held-list button");
    await seen(contact("Alice Moreau"));
  },

  async "it can be photographed"() {
    await show("alice");
    for (let i = 0; i < 12; i++) {
      const asked = page.waitForResponse((r) => r.url().endsWith("/metrics"));
      await notify(...["alice", "bob", "carol"].slice(i % 3));
      await asked; // what the line of times is drawn from
    }
    await notify("dave");
    await seen(line("notification", "dave"));
    check(!(await page.locator('[data-slot="held-box"]').isVisible()), "something is held still");
    await withoutScrolling();
    await accessible("the console");
    await photograph("console");
    await page.emulateMedia({ colorScheme: "dark" });
    await accessible("the console in the dark");
    await photograph("console-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1000, height: 800 });
    await withoutScrolling();
    await photograph("console-tablet");
    await page.setViewportSize(DESKTOP);
  },

  async "an application that fails is seen"() {
    await tell("fail");
    await click('[data-action="refresh"]');
    await seen('[data-slot="outcome"][data-state="failed"]');
    await seen(`${line("notification", "alice")}[data-state="failed"]`);
    await seen('[data-host="localhost"]:not([data-state="ok"]) [data-slot="trouble"]:has-text("503")');
    await photograph("console-failing");
    await tell("recover");
    await page.locator('[data-action="refresh"]').click();
    await seen('[data-host="localhost"][data-state="ok"]');
    check(!(await page.title()).includes("XSS"), "an error was run");
  },

  async "clients are found, and their sessions ended in two steps, by keyboard"() {
    await page.locator('[data-field="filter"]').fill("carol");
    await gone(session("bob"));
    await page.keyboard.press("Tab"); // the list
    await page.keyboard.press("Tab"); // show
    await page.keyboard.press("Tab"); // end
    await page.keyboard.press("Enter");
    await seen(session("carol", '[data-action="really-end"]'));
    await page.keyboard.press("Enter");
    await gone(session("carol"));
    await page.locator('[data-field="filter"]').fill("");
    await seen(session("bob"));
    await seen(line("operator", "ended carol@localhost"));
  },

  async "a phone's window shows one part at a time, and all of it works"() {
    await page.setViewportSize(PHONE);
    for (const view of ["hosts", "feed", "user", "sessions"]) {
      await click(`[role="tab"][data-view="${view}"]`);
      await seen(`#${view}`);
      check((await page.locator("main > section:visible").count()) === 1, `more than ${view} is to be seen`);
      await withoutScrolling();
      await accessible(`${view} on a phone`);
      await photograph(`console-phone-${view}`);
    }
    await click(session("bob", '[data-action="show"]'));
    await seen('#user [data-user="bob@localhost"] [data-contact]');
    await page.setViewportSize(DESKTOP);
  },

  async "after signing out nothing is left, and the browser had nothing to complain of"() {
    // The status is just being asked for: what the page asks for when it has it would go without the token.
    const asked = await new Promise((first) => page.route("**/admin/status", first));
    await click('[data-action="sign-out"]');
    await seen("[data-sign-in]");
    await asked.continue();
    await page.evaluate(async () => {
      for (let i = 0; i < 5; i++) await fetch(location.href);
    });
    check((await page.evaluate(() => JSON.stringify(sessionStorage))) === "{}", "the token is still there");
    check((await page.locator("[data-session]").count()) === 0, "clients are still in the page");
    check(complaints.length === 0, complaints.join("\n"));
    check(foreign.length === 0, `the page asked elsewhere: ${foreign.join(" ")}`);
  },
};

try {
  for (const [name, step] of Object.entries(visit)) {
    console.log(name);
    await step();
  }
} catch (error) {
  await page.screenshot({ path: `${folder}/console-failure.png` });
  console.error(`FAILED: ${error.message}\nseen last: ${folder}/console-failure.png`);
  if (complaints.length) console.error(`the browser complained:\n${complaints.join("\n")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
