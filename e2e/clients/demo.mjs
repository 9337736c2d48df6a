// Uses the demo page as a visitor would, in Chromium: demo.mjs URL CHROMIUM FOLDER. Screenshots go to FOLDER. It fails
// with the first thing that is not as it should be. The page's data attributes are listed in its index.html.

import { check, complaintsOf, DESKTOP, launch, newContext, PHONE } from "./browser.mjs";

const [url, executablePath, folder] = process.argv.slice(2);

const browser = await launch(executablePath);
const context = await newContext(browser);
const page = await context.newPage();

const complaints = complaintsOf(page);
page.on("response", (r) => r.status() >= 400 && complaints.push(`${r.status()}: ${r.url()}`));

// --- what a visitor sees and does

const seen = (selector) => page.locator(selector).first().waitFor({ state: "visible" });
const gone = (selector) => page.locator(selector).first().waitFor({ state: "detached" });
const pane = (side, rest) => `[data-pane="${side}"] ${rest}`;
const contact = (side, who, more = "") => pane(side, `[data-contact="${who}@localhost"]${more}`);
const app = (rest) => `[data-app] ${rest}`;
const row = (who, rest) => app(`[data-row="${who}"] ${rest}`);
const message = (side, way, text) => pane(side, `[data-message="${way}"]:has-text("${text}")`);

const open = (side, who) => page.locator(contact(side, who)).first().click();
const click = (selector) => page.locator(selector).click();
// Radio buttons are hidden behind their labels.
const choose = (selector) => page.locator(selector).evaluate((radio) => radio.closest("label").click());
const setMode = (mode) => choose(app(`[data-action="mode"][value="${mode}"]`));
const presence = (side, show) => page.locator(pane(side, '[data-action="presence"]')).selectOption(show);

async function say(side, text) {
  await page.locator(pane(side, '[data-action="compose"]')).fill(text);
  await click(pane(side, '[data-action="send"]'));
  await seen(message(side, "out", text));
}

async function online() {
  for (const side of ["left", "right"]) await seen(`[data-pane="${side}"][data-connection="online"]`);
}

// withoutScrolling checks that the page is as wide as the window.
async function withoutScrolling() {
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(content <= width, `the page is ${content} px wide in a window of ${width}`);
}

// --- the visit

const visit = {
  async "both people sign in and see each other"() {
    await page.goto(url);
    await online();
    await seen(contact("left", "bob", '[data-presence="available"]'));
    await seen(contact("left", "carol", '[data-presence="away"]'));
    await seen(contact("right", "alice", '[data-presence="available"]'));
    await seen(contact("right", "dave", '[data-presence="available"]'));
    await withoutScrolling();
  },

  // The picture in the README: a short talk, and a contact who has just been added.
  async "it can be photographed"() {
    const talk = [
      ["left", "Morning! Is Dave in on the climbing trip?"],
      ["right", "He is. You don't have him in your list yet?"],
      ["left", "Ah, there he is: the application has just added him."],
    ];
    await open("left", "bob");
    await open("right", "alice");
    for (const [side, text] of talk) {
      await say(side, text);
      await seen(message(side === "left" ? "right" : "left", "in", text));
    }
    await click(row("dave", '[data-action="add"]'));
    await seen(contact("left", "dave", '[data-presence="available"]'));
    await seen(app('[data-feed] [data-kind="notify"][data-state="ok"]'));
    await gone(app('[data-feed] [data-state="pending"]'));
    await page.evaluate(() => document.activeElement?.blur());
    await page.mouse.move(0, 0);
    await page.screenshot({ path: `${folder}/demo.png` });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.screenshot({ path: `${folder}/demo-dark.png` });
    await page.emulateMedia({ colorScheme: "light" });
  },

  async "everything can go back to the start"() {
    await click(app('[data-action="reset"]'));
    await gone(contact("left", "dave"));
    await seen(app('[data-row="dave"][data-known="no"]'));
  },

  async "they chat"() {
    await open("right", "dave"); // so that what Alice writes is not read at once
    await open("left", "bob");
    await say("left", "Hello Bob, 1 < 2 & 'so on' 👋");
    await seen(contact("right", "alice", '[data-unread="1"]'));
    await open("right", "alice");
    await seen(message("right", "in", "Hello Bob, 1 < 2 & 'so on' 👋"));
    await say("right", "Hello Alice");
    await seen(message("left", "in", "Hello Alice"));
  },

  async "a presence is seen on the other side"() {
    await presence("right", "dnd");
    await seen(contact("left", "bob", '[data-presence="dnd"]'));
    await presence("right", "offline");
    await seen(contact("left", "bob", '[data-presence="offline"]'));
    await presence("right", "available");
    await seen(contact("left", "bob", '[data-presence="available"]'));
    await online();
  },

  async "a contact removed in the application leaves both lists"() {
    await click(row("bob", '[data-action="remove"]'));
    await gone(contact("left", "bob"));
    await gone(contact("right", "alice"));
    await seen(app('[data-row="bob"][data-known="no"]'));
  },

  async "a contact added in the application comes to both lists, presence and all"() {
    await click(row("bob", '[data-action="add"]'));
    await seen(contact("left", "bob", '[data-presence="available"]'));
    await seen(contact("right", "alice", '[data-presence="available"]'));
  },

  async "a new name and new groups reach the lists"() {
    await click(row("bob", '[data-action="edit"]'));
    await page.locator(row("bob", '[data-field="name"]')).fill("Bobby <O>");
    await page.locator(row("bob", '[data-field="groups"]')).fill("Chess, Café");
    await click(row("bob", '[data-action="save"]'));
    await seen(pane("left", '[data-group="Chess"] [data-contact="bob@localhost"]:has-text("Bobby <O>")'));
    await seen(pane("left", '[data-group="Café"] [data-contact="bob@localhost"]'));
    await gone(pane("left", '[data-group="Work"]'));
    await seen(pane("right", '[data-group="Chess"] [data-contact="alice@localhost"]'));
    await seen(contact("left", "bob", '[data-presence="available"]'));
  },

  async "with the application off, lists stay and chats go on"() {
    await setMode("unavailable");
    await seen('[data-app][data-mode="unavailable"]');
    await click(row("dave", '[data-action="add"]'));
    await seen(app('[data-feed] [data-kind="notify"][data-state="failed"]'));
    await gone(contact("left", "dave"));
    await seen(contact("left", "bob", '[data-presence="available"]'));
    await open("left", "bob");
    await say("left", "still here?");
    await open("right", "alice");
    await seen(message("right", "in", "still here?"));
    await page.reload();
    await online();
    await seen(contact("left", "bob", '[data-presence="available"]'));
  },

  async "with the application on again, what changed meanwhile arrives"() {
    await setMode("on");
    await seen('[data-app][data-mode="on"]');
    await seen(contact("left", "dave", '[data-presence="available"]'));
  },

  async "the keyboard is enough"() {
    await page.locator(contact("left", "bob")).first().focus();
    const places = [];
    for (const key of ["Home", "ArrowDown", "ArrowDown", "ArrowUp", "End"]) {
      await page.keyboard.press(key);
      places.push(await page.evaluate(() => [...document.querySelectorAll("[data-contact]")].indexOf(document.activeElement)));
    }
    const last = (await page.locator(pane("left", "[data-contact]")).count()) - 1;
    check(String(places) === String([0, 1, 2, 1, last]), `the keys went to the contacts ${places} of ${last + 1}`);
    await page.keyboard.press("Enter");
    await page.keyboard.type("typed");
    await page.keyboard.press("Enter");
    await seen(message("left", "out", "typed"));
  },

  async "a phone's window shows one part at a time, and all of it works"() {
    await page.setViewportSize(PHONE);
    for (const view of ["app", "right", "left"]) {
      await click(`[role="tab"][data-view="${view}"]`);
      await seen(`body[data-view="${view}"]`);
      await withoutScrolling();
      const parts = page.locator('[data-pane="left"]:visible, [data-pane="right"]:visible, [data-app]:visible');
      check((await parts.count()) === 1, `${await parts.count()} parts are to be seen in ${view}`);
    }
    await open("left", "bob");
    await say("left", "from my phone");
    await click('[role="tab"][data-view="right"]');
    await open("right", "alice");
    await seen(message("right", "in", "from my phone"));
    await page.screenshot({ path: `${folder}/demo-phone.png` });
    await page.setViewportSize(DESKTOP);
  },

  async "the browser had nothing to complain of"() {
    check(complaints.length === 0, complaints.join("\n"));
  },
};

try {
  for (const [name, step] of Object.entries(visit)) {
    console.log(name);
    await step();
  }
} catch (error) {
  await page.screenshot({ path: `${folder}/demo-failure.png` });
  console.error(`FAILED: ${error.message}\nseen last: ${folder}/demo-failure.png`);
  if (complaints.length) console.error(`the browser complained:\n${complaints.join("\n")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
