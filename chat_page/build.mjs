// Writes chat_code/page. The same source gives the same bytes: no date, no hash of a path, packages in order of name.

import { build } from "esbuild";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const page = process.argv[2] ?? join(here, "..", "chat_code", "page");

const shared = { absWorkingDir: here, write: false, bundle: true, minify: true, charset: "utf8" };
const bundle = await build({
  entryPoints: ["src/main.tsx"],
  outfile: "app.js",
  ...shared,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  legalComments: "none",
  metafile: true,
  define: { "process.env.NODE_ENV": '"production"' },
  // Without the development builds that some packages choose by this condition.
  conditions: ["production"],
});

const style = await build({ ...shared, entryPoints: ["src/style.css"], outfile: "style.css" });

await rm(page, { recursive: true, force: true });
await mkdir(join(page, "locales"), { recursive: true });
await writeFile(join(page, "app.js"), bundle.outputFiles[0].contents);
await writeFile(join(page, "style.css"), style.outputFiles[0].contents);
for (const name of ["index.html", "icon.svg"]) await writeFile(join(page, name), await readFile(join(here, "static", name)));
for (const name of await readdir(join(here, "locales"))) await writeFile(join(page, "locales", name), await readFile(join(here, "locales", name)));
await writeFile(join(page, "LICENSES.txt"), await licenses(bundle.metafile));

/** The licence of every package with a byte in the bundle. */
async function licenses({ outputs }) {
  const inputs = Object.entries(outputs["app.js"].inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  const folders = new Set(inputs.flatMap(([path]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
  const parts = await Promise.all([...folders].map(async (folder) => {
    const { name, version, license, author } = JSON.parse(await readFile(join(here, folder, "package.json"), "utf8"));
    const file = (await readdir(join(here, folder))).sort().find((each) => /^licen[cs]e/i.test(each));
    if (!license && !file) throw new Error(`${name} has no licence`);
    const text = file ? (await readFile(join(here, folder, file), "utf8")).replaceAll("\r\n", "\n").trim() : `Copyright ${author?.name ?? author}. Its package holds no licence text.`;
    return `${name} ${version}\nLicence: ${license}\n\n${text}\n`;
  }));
  const rule = `\n${"-".repeat(80)}\n\n`;
  return `app.js contains these packages.\n${rule}${parts.sort().join(rule)}`;
}
