"use strict";
/*
 * The loop of a program that writes through a Redis library: numbered keys, one after another, a
 * few milliseconds apart. It tells what the library told it, a line each on stdout: "ok N" for an
 * acknowledged write, "error N MESSAGE" for one that the library gave up; then it tries the same
 * number again, as a program that needs the write does. The end of stdin ends it.
 */
const PAUSE_MS = 4;

module.exports = async function write(set, prefix) {
	let ended = false;

	process.stdin.on("end", () => { ended = true; }).resume();
	for (let n = 0; !ended;) {
		try {
			await set(prefix + n, String(n));
			process.stdout.write(`ok ${n}\n`);
			n++;
		} catch (e) {
			process.stdout.write(`error ${n} ${JSON.stringify(e.message)}\n`);
		}
		await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
	}
	process.stdout.write("end\n");
	process.exit(0);
};
