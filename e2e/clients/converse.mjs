// Chats with Converse.js as people do, in Chromium: converse.mjs SITE CONTROL TRANSPORT SIGN-IN CHROMIUM FOLDER.
// SIGN-IN is password, token or prebind. CONTROL makes things happen (converse_test.go). Screenshots go to FOLDER. It fails with the first thing that is not as it
// should be.

import { launch, newContext, PATIENCE } from "./browser.mjs";

const [site, control, transport, signIn, executablePath, folder] = process.argv.slice(2);

const browser = await launch(executablePath);

// --- the world

async function happen(what, body = "") {
  const response = await fetch(`${control}/${what}`, { method: "POST", body });
  if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`);
}

// --- a person with a browser of her own

async function person(user) {
  const context = await newContext(browser, {
    viewport: { width: 1200, height: 800 },
    ignoreHTTPSErrors: true, // the test's own certificate
  });
  return { user, context, page: undefined };
}

async function open(who) {
  who.page = await who.context.newPage();
  who.page.on("pageerror", (error) => console.log(`${who.user}: exception: ${error.message}`));
  who.page.on("console", (m) => m.type() === "error" && console.log(`${who.user}: ${m.text()}`));
  await who.page.goto(`${site}/?user=${who.user}`);
}

// until waits for a condition in the page, which has Converse.js as window.probe.
async function until(who, what, condition, argument) {
  try {
    await who.page.waitForFunction(condition, argument, { timeout: PATIENCE });
    console.log(`${who.user}: ${what}`);
  } catch (error) {
    await who.page.screenshot({ path: `${folder}/converse-failed-${transport}-${signIn}.png` });
    const contacts = await who.page.evaluate(() => window.probe?.state?.roster?.map?.((c) => JSON.stringify(c.attributes)));
    throw new Error(`${who.user}: not ${what}: ${error.message}\n${(contacts ?? []).join("\n")}`);
  }
}

const online = (who) =>
  until(who, "is online", () => window.probe?.api?.connection?.connected?.() && window.probe.state.roster !== undefined);

// lists waits until the contacts are these: "address name [groups]", by address. Whom one has chatted with stays in sight of a page
// that is opened again, as an unsaved contact, which is in no roster and has no subscription; what is left of a roster has one.
const lists = (who, ...want) =>
  until(who, `lists ${want.join(", ") || "nobody"}`, (want) => {
    const own = window.probe.session.get("bare_jid");
    const have = window.probe.state.roster
      .filter((c) => c.get("jid") !== own && c.get("subscription"))
      .map((c) => `${c.get("jid")} ${c.get("nickname") ?? ""} [${[...(c.get("groups") ?? [])].sort()}]`)
      .sort();
    return JSON.stringify(have) === JSON.stringify(want);
  }, want.toSorted());

const shows = (who, text) => who.page.getByText(text, { exact: true }).first().waitFor({ state: "visible" });
const hides = (who, text) => who.page.getByText(text, { exact: true }).first().waitFor({ state: "detached" });

const sees = (who, contact, status) =>
  until(who, `sees ${contact} ${status}`, ([jid, status]) => {
    const got = window.probe.state.roster.get(jid)?.getStatus();
    return status === "online" ? got === "online" || got === "chat" : got === status;
  }, [`${contact}@localhost`, status]);

async function say(who, contact, text) {
  await who.page.evaluate((jid) => window.probe.api.chats.open(jid, {}, true), `${contact}@localhost`);
  const box = who.page.locator(`converse-chat[jid="${contact}@localhost"] textarea.chat-textarea, .chatbox textarea.chat-textarea`).last();
  await box.fill(text);
  await box.press("Enter");
}

const hears = (who, contact, text) =>
  until(who, `hears "${text}"`, ([jid, text]) =>
    window.probe.state.chatboxes.get(jid)?.messages?.models?.some((m) => m.get("body") === text),
  [`${contact}@localhost`, text]);

// once has each text in a chat as often as it was said.
const once = (who, contact, ...texts) =>
  until(who, `has once ${texts.join(" ")}`, ([jid, texts]) =>
    texts.every((text) => window.probe.state.chatboxes.get(jid).messages.models.filter((m) => m.get("body") === text).length === 1),
  [`${contact}@localhost`, texts]);

// --- the visit

const alice = await person("alice");
const bob = await person("bob");
const B = (name, ...groups) => `{"bob@localhost": {"name": "${name}", "groups": ${JSON.stringify(groups)}}}`;
const withCarol = '{"bob@localhost": {"name": "Bob", "groups": ["Work"]}, "carol@localhost": {"name": "Carol", "groups": ["Climbing", "Work"]}}';

await happen("set/alice", withCarol);
await happen("set/bob", '{"alice@localhost": {"name": "Alice"}}');
await open(alice);
await online(alice);
await lists(alice, "bob@localhost Bob [Work]", "carol@localhost Carol [Climbing,Work]");
await shows(alice, "Climbing");
await shows(alice, "Carol");

// She follows the application live.
await happen("change/alice", B("Robert", "Band"));
await lists(alice, "bob@localhost Robert [Band]");
await hides(alice, "Carol");
await shows(alice, "Band");
await happen("patch/alice", '{"dave@localhost": {"name": "Dave"}}');
await lists(alice, "bob@localhost Robert [Band]", "dave@localhost Dave []");

// Her name and picture are in her vCard, where Bob's page finds them. With prebind they are the application's, as her contacts are.
const photo = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const profiles = signIn === "prebind";
const profile = (image) => JSON.stringify({ name: "Alice Liddell", avatar: image && `data:image/png;base64,${image}` });
if (profiles) await happen("profile/alice", profile(photo));
else await alice.page.evaluate(
  (image) => window.probe.api.vcard.set("alice@localhost", { fn: "Alice Liddell", nickname: "", url: "", email: "", role: "", image, image_type: "image/png" }),
  photo,
);

// Presence in both directions, and a chat.
await open(bob);
await online(bob);
await lists(bob, "alice@localhost Alice []");
await until(bob, "has her vCard", (image) => {
  const card = window.probe.state.vcards?.get("alice@localhost");
  return card?.get("fullname") === "Alice Liddell" && card?.get("image") === image;
}, photo);
if (profiles) { // another picture is there at once, for presence says that there is one
  const other = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
  await happen("profile/alice", profile(other));
  await until(bob, "has her new picture", (image) => window.probe.state.vcards?.get("alice@localhost")?.get("image") === image, other);
}
await sees(alice, "bob", "online");
await sees(bob, "alice", "online");
await say(alice, "bob", "Are you there?");
await hears(bob, "alice", "Are you there?");
await say(bob, "alice", "I am.");
await hears(alice, "bob", "I am.");
await alice.page.screenshot({ path: `${folder}/converse-${transport}-${signIn}.png` });

// She opens another browser: what one shows the other shows, said and heard (XEP-0280).
const tablet = await person("alice");
await open(tablet);
await online(tablet);
await sees(tablet, "bob", "online");
// What was said before she opened it is there: it comes from the archive (XEP-0313), for this browser has nothing of its own.
await tablet.page.evaluate(() => window.probe.api.chats.open("bob@localhost", {}, true));
await hears(tablet, "bob", "Are you there?");
await hears(tablet, "bob", "I am.");
await once(tablet, "bob", "Are you there?", "I am.");
await say(alice, "bob", "Shall we?");
await hears(bob, "alice", "Shall we?");
await hears(tablet, "bob", "Shall we?");
await say(bob, "alice", "Yes.");
await hears(alice, "bob", "Yes.");
await hears(tablet, "bob", "Yes.");
await say(tablet, "bob", "Now.");
await hears(alice, "bob", "Now.");
await once(alice, "bob", "Shall we?", "Yes.", "Now.");
await once(tablet, "bob", "Are you there?", "I am.", "Shall we?", "Yes.", "Now.");
await tablet.page.screenshot({ path: `${folder}/converse-carbons-${transport}-${signIn}.png` });
await tablet.context.close();

await bob.page.evaluate(() => window.probe.api.user.status.set("dnd"));
await sees(alice, "bob", "dnd");
await bob.page.evaluate(() => window.probe.api.user.status.set("online"));
await bob.page.evaluate(() => window.probe.api.user.logout());
await sees(alice, "bob", "offline");
await bob.context.close();

// The network is cut: she comes back by herself, to the same session, and what changed meanwhile is right.
await happen("disconnect");
await happen("change/alice", B("Bob", "Work"));
await happen("connect");
await lists(alice, "bob@localhost Bob [Work]");
await online(alice);

// The server starts again: she comes back by herself, and asks for what changed. (That Converse.js does so in every case, the
// plugin fresh-roster of the page sees to.)
await happen("kill");
await happen("set/alice", '{"carol@localhost": {"name": "Carol"}, "dave@localhost": {}}');
await happen("run");
await until(alice, "notices", () => !window.probe.api.connection.connected());
await online(alice);
await lists(alice, "carol@localhost Carol []", "dave@localhost  []");

// A contact who was removed while her browser was closed is gone when she comes back: no ghosts.
await alice.page.close();
await happen("set/alice", '{"dave@localhost": {"name": "David", "groups": ["Family"]}}');
await happen("notify/alice");
await open(alice);
await online(alice);
await lists(alice, "dave@localhost David [Family]");
await hides(alice, "Carol");

// An application that is down when somebody signs in for the first time delays the contacts, and nothing else.
const bob2 = await person("bob");
await alice.page.close();
await happen("kill");
await happen("run");
await happen("fail");
await open(bob2);
await online(bob2);
await happen("recover");
await lists(bob2, "alice@localhost Alice []");

await browser.close();
console.log("all is well");
