// A round trip with node-redis; run by scripts/client-round-trips.py, which installs it: node node.mjs PORT
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { createClient, WatchError } = require("redis");
const [port] = process.argv.slice(2);
let checks = 0;
const equal = (found, expected) => {
  assert.deepEqual(found, expected);
  checks += 1;
};
const plain = (found) => JSON.parse(JSON.stringify(found));

async function strings(client) {
  equal(await client.set("node:k", "v", { expiration: { type: "EX", value: 100 } }), "OK");
  equal(await client.get("node:k"), "v");
  assert.ok((await client.ttl("node:k")) > 90);
  equal(await client.get("node:none"), null);
  equal(await client.mSet({ "node:a": "1", "node:b": "2" }), "OK");
  equal(await client.mGet(["node:a", "node:none", "node:b"]), ["1", null, "2"]);
  equal(await client.incrBy("node:n", 41), 41);
  equal(await client.incr("node:n"), 42);
  // Sent as one pipeline by the client.
  const numbers = [...Array(1000).keys()];
  equal(new Set(await Promise.all(numbers.map((n) => client.set(`node:p:${n}`, `${n}`)))), new Set(["OK"]));
  equal(await Promise.all(numbers.map((n) => client.get(`node:p:${n}`))), numbers.map(String));
  const seen = new Set();
  for await (const keys of client.scanIterator({ MATCH: "node:p:*", COUNT: 100 })) keys.forEach((key) => seen.add(key));
  equal(seen.size, 1000);
}

async function hashes(client) {
  equal(await client.hSet("node:h", { name: "Ada", age: "36" }), 2);
  equal(plain(await client.hGetAll("node:h")), { name: "Ada", age: "36" });
  equal(await client.hmGet("node:h", ["age", "none"]), ["36", null]);
  equal(await client.hIncrBy("node:h", "age", 1), 37);
  equal(await client.hExpire("node:h", ["age", "none"], 100), [1, -2]);
  assert.ok((await client.hTTL("node:h", "age"))[0] > 90);
  await assert.rejects(client.get("node:h"), /WRONGTYPE/);
  await assert.rejects(client.sendCommand(["NOSUCH"]), /unknown command/);
}

async function transactions(client) {
  equal(await client.multi().set("node:t", "1").incr("node:t").hGet("node:h", "name").exec(), ["OK", 2, "Ada"]);
  const other = await client.duplicate().connect();
  await client.watch("node:t");
  await other.set("node:t", "7");
  await assert.rejects(client.multi().set("node:t", "8").exec(), WatchError);
  equal(await client.get("node:t"), "7");
  other.destroy();
}

async function messages(client) {
  const subscriber = await client.duplicate().connect();
  const got = [];
  await subscriber.subscribe("node:news", (message) => got.push(message));
  await subscriber.pSubscribe("node:*", (message, channel) => got.push(`${channel} ${message}`));
  equal(await client.publish("node:news", "hello"), 2);
  while (got.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  equal(got.sort(), ["hello", "node:news hello"]);
  await subscriber.unsubscribe();
  await subscriber.pUnsubscribe();
  subscriber.destroy();
}

for (const RESP of [2, 3]) {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP });
  client.on("error", (error) => {
    throw error;
  });
  await client.connect();
  await client.flushAll();
  for (const part of [strings, hashes, transactions, messages]) await part(client);
  assert.match(await client.info("server"), /redis_version/);
  await client.close();
}
console.log(`${checks} checks`);
process.exit(0);
