// Takes the addresses of sponsors from the lock file, which names nobody then.
import { readFileSync, writeFileSync } from "node:fs";

const name = "package-lock.json";
const lock = JSON.parse(readFileSync(name, "utf8"));
for (const entry of Object.values(lock.packages)) delete entry.funding;
writeFileSync(name, `${JSON.stringify(lock, null, 2)}\n`);
