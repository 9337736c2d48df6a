// Administers with Converse.js as people do, in Chromium: converse_administers.mjs SITE USER PASSWORD CHROMIUM FOLDER. The commands are those
// that its settings show. A screenshot goes to FOLDER when something is not as it should be.

import { launch, newContext, PATIENCE } from "./browser.mjs";

const [site, user, password, executablePath, folder] = process.argv.slice(2);
const browser = await launch(executablePath);
const context = await newContext(browser, { viewport: { width: 1200, height: 1600 }, ignoreHTTPSErrors: true });
const page = await context.newPage();
page.on("pageerror", (error) => console.log(`exception: ${error.message}`));

try {
  await page.goto(`${site}/`);
  await page.locator("input[name=jid]").fill(`${user}@localhost`);
  await page.locator("input[name=password]").fill(password);
  await page.locator("input[name=password]").press("Enter");
  await page.waitForFunction(() => window.probe?.api?.connection?.connected?.(), undefined, { timeout: PATIENCE });

  await page.evaluate(() => window.probe.api.modal.show("converse-user-settings-modal"));
  await page.locator("#commands-tab").click();
  const commands = page.locator("converse-adhoc-commands");
  await commands.locator("input[name=jid]").fill("localhost");
  await commands.locator("input[type=submit]").first().click();

  await commands.locator("a", { hasText: "Send announcement to online users" }).click();
  await commands.locator("textarea[name=announcement]").fill("Down at noon.\nBack at one.");
  await commands.locator("input[data-action=complete]").click();
  await commands.getByText("Told 2 users.").waitFor();
  console.log("announced");

  await commands.locator("a", { hasText: "Add user" }).click();
  await commands.locator("input[name=accountjid]").fill("carol@localhost");
  await commands.locator("input[name=password]").fill(password);
  await commands.locator("input[name=password-verify]").fill(password);
  for (const name of ["password", "password-verify"]) {
    const type = await commands.locator(`input[name=${name}]`).getAttribute("type");
    if (type !== "password") throw new Error(`${name} is shown: ${type}`);
  }
  await commands.locator("input[data-action=complete]").click();
  await commands.locator("input[name=accountjid]").waitFor({ state: "detached" });
  console.log("added a user");

  await commands.locator("a", { hasText: "Disable user" }).click();
  await commands.locator("[name=accountjids]").fill("bob@localhost");
  await commands.locator("input[data-action=complete]").click();
  await commands.getByText("Done for 1 user.").waitFor();
  console.log("disabled one");
} catch (error) {
  await page.screenshot({ path: `${folder}/converse-administers-failed.png` });
  console.log(await page.locator("body").innerText());
  throw error;
} finally {
  await browser.close();
}
