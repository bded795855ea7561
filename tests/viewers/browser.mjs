// Headless Chromium, and a web server on the loopback interface for readers that are web pages.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import process from "node:process";
import { load, unusable } from "./report.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".json": "application/json", ".png": "image/png", ".woff2": "font/woff2" };

/** The program of CHROMIUM, or the first of Debian's names that is in PATH. */
function chromium() {
  const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : ["chromium", "chromium-browser", "google-chrome"];
  for (const name of names) {
    for (const folder of name.includes("/") ? [""] : process.env.PATH.split(":")) {
      if (existsSync(path.join(folder, name))) return path.join(folder, name);
    }
  }
  return unusable("chromium is not installed: run tests/viewers/install.sh");
}

/** Starts Chromium, calls `use(browser)`, and ends Chromium. WebGL runs in software: speedscope draws with it. */
export async function withBrowser(use) {
  const browser = await load("playwright-core").chromium.launch({
    executablePath: chromium(),
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
  });
  try {
    return await use(browser);
  } finally {
    await browser.close();
  }
}

/** Serves a folder on a free port of 127.0.0.1. */
export async function withServer(folder, use) {
  const server = createServer((request, response) => {
    const url = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file = path.join(folder, url === "/" ? "index.html" : url);
    if (!file.startsWith(folder + path.sep) || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream", });
    response.end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/**
 * Opens a page that reaches no server but the one at `origin`; `heard(kind, words)` gets what the page says.
 * A page that makes no picture is small, since software draws it.
 */
export async function withPage(browser, { origin, heard, picture }, use) {
  const page = await browser.newPage({ viewport: picture ? { width: 1280, height: 800 } : { width: 320, height: 200 } });
  page.on("console", (message) => heard(message.type(), message.text()));
  page.on("pageerror", (error) => heard("pageerror", String(error.stack ?? error)));
  page.on("dialog", (dialog) => {
    heard("dialog", dialog.message());
    dialog.dismiss().catch(() => {});
  });
  await page.route(/^https?:/, (route) => (route.request().url().startsWith(`${origin}/`) ? route.continue() : route.abort()));
  try {
    return await use(page);
  } finally {
    await page.close();
  }
}
