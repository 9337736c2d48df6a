// Makes an account with Converse.js as people do, in Chromium: converse_register.mjs SITE TRANSPORT PASSWORD CHROMIUM FOLDER. A screenshot
// goes to FOLDER when something is not as it should be.

import { launch, newContext, PATIENCE } from "./browser.mjs";

const [site, transport, password, executablePath, folder] = process.argv.slice(2);
const browser = await launch(executablePath);
let page;

// visit opens the page as somebody with a browser of her own.
async function visit() {
  const context = await newContext(browser, { viewport: { width: 1200, height: 800 }, ignoreHTTPSErrors: true });
  page = await context.newPage();
  page.on("pageerror", (error) => console.log(`exception: ${error.message}`));
  await page.goto(`${site}/`);
}

// register asks for an account of a name.
async function register(user) {
  await visit();
  await page.locator("a.register-account").click();
  const form = page.locator("converse-registration-form form");
  await form.locator("input[name=username]").fill(user);
  await form.locator("input[name=password]").fill(password);
  await form.locator("input[type=submit]").click();
}

async function online(user) {
  await page.waitForFunction((jid) =>
    window.probe?.api?.connection?.connected?.() && window.probe.session.get("bare_jid") === jid, `${user}@localhost`, { timeout: PATIENCE });
  console.log(`${user} is online`);
}

try {
  await register("bob");
  await page.locator("converse-registration-form").getByText("try a different username").first().waitFor();
  console.log("bob's name is taken");

  await register("alice");
  await online("alice");

  await visit();
  await page.locator("input[name=jid]").fill("alice@localhost");
  await page.locator("input[name=password]").fill(password);
  await page.locator("input[name=password]").press("Enter");
  await online("alice");
} catch (error) {
  await page.screenshot({ path: `${folder}/converse-register-failed-${transport}.png` });
  console.log(await page.locator("body").innerText());
  throw error;
} finally {
  await browser.close();
}
