"use strict";
/* node node-redis.js PORT NAME PREFIX [OPTIONS as JSON]: what node-redis 5 does with createSentinel(). */
const { createSentinel } = require("redis");
const write = require("./writer");
const [port, name, prefix, more] = process.argv.slice(2);
const client = createSentinel({
	name,
	sentinelRootNodes: [{ host: "127.0.0.1", port: Number(port) }],
	...JSON.parse(more || "{}"),
});

client.on("error", (e) => console.error(String(e))); /* an error without a listener ends the program */
client.connect().then(() => write((key, value) => client.set(key, value), prefix));
