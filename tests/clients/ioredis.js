"use strict";
/* node ioredis.js PORT NAME PREFIX [OPTIONS as JSON]: what ioredis does with its Sentinel support. */
const Redis = require("ioredis");
const write = require("./writer");
const [port, name, prefix, more] = process.argv.slice(2);
const client = new Redis({
	sentinels: [{ host: "127.0.0.1", port: Number(port) }],
	name,
	...JSON.parse(more || "{}"),
});

client.on("error", (e) => console.error(String(e))); /* without a listener it prints a warning */
write((key, value) => client.set(key, value), prefix);
