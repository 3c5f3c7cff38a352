// Every operation of Turbopuffer's TypeScript SDK, unmodified, through the gateway.
//
// tests/e2e/test_typescript_sdk.py runs it with Node's own test runner. The SDK is taken from the
// folder in LAYER_TEST_TURBOPUFFER_JS and finds the gateway by its own TURBOPUFFER_BASE_URL.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { test } from "node:test";

const require = createRequire(resolve(process.env.LAYER_TEST_TURBOPUFFER_JS, "from-here.js"));
const sdk = require("@turbopuffer/turbopuffer");

const client = new sdk.Turbopuffer({
  defaultHeaders: { "x-hevlayer-tags": "session:typescript" },
});

const ids = (result) => result.rows.map((row) => row.id);

function animals(name, options = {}) {
  const namespace = client.namespace(name);
  const rows = [
    { id: 1, vector: [1, 0], kind: "fox", legs: 4, tags: ["red", "quick"], text: "a quick red fox" },
    { id: 2, vector: [0, 1], kind: "hen", legs: 2, tags: ["red"], text: "a red hen" },
    { id: 3, vector: [1, 1], kind: "fox", legs: 4, tags: [], text: "a fox that sleeps" },
    { id: 4, vector: [9, 9], kind: "eel", legs: 0, text: "an eel" },
  ];
  return namespace
    .write({
      upsert_rows: rows,
      distance_metric: "euclidean_squared",
      schema: { text: { type: "string", full_text_search: { stemming: true } } },
      ...options,
    })
    .then((written) => ({ namespace, written }));
}

test("write: rows and what was done with them", async () => {
  const { namespace, written } = await animals("ts-rows", { return_affected_ids: true });
  assert.deepEqual(
    [written.status, written.rows_affected, written.rows_upserted, written.upserted_ids],
    ["OK", 4, 4, [1, 2, 3, 4]],
  );
  assert.equal(written.performance.server_total_ms > 0, true);
  const found = await namespace.query({ rank_by: ["id", "asc"], limit: 2, include_attributes: true });
  assert.deepEqual(found.rows[0].vector, [1, 0]);
  assert.deepEqual(found.rows[0].tags, ["red", "quick"]);
});

test("write: columns, patches and deletes", async () => {
  const namespace = client.namespace("ts-columns");
  await namespace.write({ upsert_columns: { id: ["a", "b", "c", "d"], n: [1, 2, 3, null] } });
  const patched = await namespace.write({
    patch_columns: { id: ["a", "none"], n: [10, 10] },
    patch_rows: [{ id: "b", m: "new" }],
    deletes: ["c"],
  });
  assert.deepEqual([patched.rows_patched, patched.rows_deleted], [2, 1]);
  const byFilter = await namespace.write({
    delete_by_filter: ["n", "Eq", 2],
    patch_by_filter: { filters: ["n", "Eq", null], patch: { n: 7 } },
  });
  assert.deepEqual([byFilter.rows_deleted, byFilter.rows_patched], [1, 1]);
  const rest = await namespace.query({ rank_by: ["id", "asc"], limit: 9, include_attributes: ["n"] });
  assert.deepEqual(rest.rows, [{ id: "a", n: 10 }, { id: "d", n: 7 }]);
});

test("write: conditions", async () => {
  const namespace = client.namespace("ts-conditions");
  await namespace.write({ upsert_rows: [{ id: 1, version: 5 }, { id: 2, version: 5 }] });
  const newer = ["version", "Lt", { $ref_new: "version" }];
  const written = await namespace.write({
    upsert_rows: [{ id: 1, version: 4 }, { id: 2, version: 6 }, { id: 3, version: 1 }],
    upsert_condition: newer,
    return_affected_ids: true,
  });
  assert.deepEqual(written.upserted_ids, [2, 3]);
  const patched = await namespace.write({ patch_rows: [{ id: 1, version: 5 }], patch_condition: newer });
  assert.equal(patched.rows_patched, 0);
  const deleted = await namespace.write({ deletes: [1, 2], delete_condition: ["version", "Eq", 6] });
  assert.equal(deleted.rows_deleted, 1);
});

test("query: vectors, text, order, filters, windows", async () => {
  const { namespace } = await animals("ts-queries");
  const near = await namespace.query({
    rank_by: ["vector", "ANN", [1, 0]],
    top_k: 2,
    filters: ["And", [["kind", "In", ["fox", "hen"]], ["legs", "Gte", 3]]],
  });
  assert.deepEqual(near.rows, [{ id: 1, $dist: 0 }, { id: 3, $dist: 1 }]);
  const exact = await namespace.query({
    rank_by: ["vector", "kNN", [0, 1]],
    limit: 1,
    filters: ["tags", "Contains", "red"],
    consistency: { level: "eventual" },
  });
  assert.deepEqual(ids(exact), [2]);
  const text = await namespace.query({
    rank_by: ["Sum", [["Product", 2, ["text", "BM25", "sleeping"]], ["text", "BM25", "fox"]]],
    limit: 5,
    exclude_attributes: ["vector"],
  });
  assert.deepEqual(ids(text), [3, 1]);
  assert.equal("vector" in text.rows[0], false);
  const ordered = await namespace.query({
    rank_by: [["legs", "desc"], ["id", "desc"]],
    limit: { total: 3, per: { attributes: ["kind"], limit: 1 } },
    include_attributes: ["kind"],
  });
  assert.deepEqual(ids(ordered), [3, 2, 4]);
  const words = await namespace.query({
    rank_by: ["id", "asc"],
    limit: 5,
    filters: ["Not", ["text", "ContainsAllTokens", "red"]],
    include_attributes: ["vector"],
    vector_encoding: "base64",
  });
  assert.deepEqual(ids(words), [3, 4]);
  assert.equal(words.rows[0].vector, "AACAPwAAgD8=");
  assert.equal(words.performance.approx_namespace_size, 4);
  assert.equal(words.billing.billable_logical_bytes_queried > 0, true);
});

test("query: aggregations and groups", async () => {
  const { namespace } = await animals("ts-aggregations");
  const all = await namespace.query({
    aggregate_by: { count: ["Count"], legs: ["Sum", "legs"] },
    filters: ["kind", "NotEq", "eel"],
  });
  assert.deepEqual(all.aggregations, { count: 3, legs: 10 });
  const kinds = await namespace.query({
    aggregate_by: { count: ["Count"] },
    group_by: ["kind"],
    top_k: 10,
  });
  assert.deepEqual(kinds.aggregation_groups, [
    { kind: "eel", count: 1 },
    { kind: "fox", count: 2 },
    { kind: "hen", count: 1 },
  ]);
  const tags = await namespace.query({
    aggregate_by: { count: ["Count"] },
    group_by: [{ tag: ["ForEachUnique", "tags"] }],
    top_k: 10,
  });
  assert.deepEqual(tags.aggregation_groups.map((group) => group.tag), [null, "quick", "red"]);
});

test("multi-query, and its fusion", async () => {
  const { namespace } = await animals("ts-multi");
  const queries = [
    { rank_by: ["vector", "ANN", [1, 1]], limit: 2 },
    { rank_by: ["text", "BM25", "fox"], limit: 2 },
  ];
  const both = await namespace.multiQuery({
    queries: [...queries, { aggregate_by: { n: ["Count"] } }],
    consistency: { level: "strong" },
  });
  assert.deepEqual(both.results.slice(0, 2).map(ids), [[3, 1], [1, 3]]);
  assert.deepEqual(both.results[2].aggregations, { n: 4 });
  const fused = await namespace.multiQuery({ queries, rerank_by: ["RRF", { weights: [2, 1] }] });
  assert.equal(fused.results.length, 1);
  assert.deepEqual(ids(fused.results[0]), [3, 1]);
});

test("explain, recall, warm hint", async () => {
  const { namespace } = await animals("ts-debug");
  const plan = await namespace.explainQuery({ rank_by: ["id", "asc"], limit: 1 });
  assert.equal(typeof plan.plan_text, "string");
  const recall = await namespace.recall({ num: 3, top_k: 2, include_ground_truth: true });
  assert.deepEqual(
    [recall.avg_recall, recall.avg_ann_count, recall.ground_truth.length],
    [1, 2, 3],
  );
  const warm = await namespace.hintCacheWarm();
  assert.equal(warm.status, "ACCEPTED");
});

test("schema, metadata, read-only", async () => {
  const { namespace } = await animals("ts-schema");
  const schema = await namespace.schema();
  assert.equal(schema.legs.type, "int");
  assert.equal(schema.text.full_text_search.stemming, true);
  const updated = await namespace.updateSchema({
    schema: { kind: { type: "string", filterable: false } },
  });
  assert.equal(updated.kind.filterable, false);
  const metadata = await namespace.metadata();
  assert.equal(metadata.approx_row_count, 4);
  assert.equal(metadata.index.status, "up-to-date");
  assert.deepEqual(metadata.schema.vector, { type: "[2]f32", ann: { distance_metric: "euclidean_squared" } });
  // Ours, beside what is Turbopuffer's.
  assert.equal(metadata.layer.is_stable, true);
  const frozen = await namespace.updateMetadata({ read_only: true });
  assert.equal(frozen.read_only, true);
  await assert.rejects(namespace.write({ deletes: [1] }), sdk.BadRequestError);
});

test("copies and branches", async () => {
  const { namespace } = await animals("ts-source");
  const copy = client.namespace("ts-copy");
  assert.equal((await copy.copyFrom({ source_namespace: "ts-source" })).status, "OK");
  const branch = client.namespace("ts-branch");
  assert.equal((await branch.branchFrom({ source_namespace: "ts-source" })).status, "OK");
  await namespace.write({ deletes: [1, 2, 3, 4] });
  for (const each of [copy, branch]) {
    assert.deepEqual(ids(await each.query({ rank_by: ["id", "asc"], limit: 9 })), [1, 2, 3, 4]);
  }
});

test("list, exists, delete", async () => {
  const names = ["ts-list-a", "ts-list-b", "ts-list-c"];
  for (const name of names) {
    await client.namespace(name).write({ upsert_rows: [{ id: 1 }] });
  }
  const listed = [];
  for await (const each of client.namespaces({ prefix: "ts-list-", page_size: 2 })) {
    listed.push(each.id);
  }
  assert.deepEqual(listed, names);
  const namespace = client.namespace("ts-list-b");
  assert.equal(await namespace.exists(), true);
  assert.equal((await namespace.deleteAll()).status, "OK");
  assert.equal(await namespace.exists(), false);
  await assert.rejects(namespace.deleteAll(), sdk.NotFoundError);
});

test("errors have their classes and the upstream's words", async () => {
  const { namespace } = await animals("ts-errors");
  await assert.rejects(namespace.query({ rank_by: ["absent", "asc"], limit: 1 }), (error) => {
    assert.equal(error instanceof sdk.BadRequestError, true);
    assert.deepEqual(Object.keys(error.error), ["status", "error"]);
    assert.match(error.message, /^400 .*attribute not found/);
    return true;
  });
  await assert.rejects(namespace.query({ rank_by: "id", limit: 1 }), sdk.UnprocessableEntityError);
  const absent = client.namespace("ts-absent");
  await assert.rejects(absent.query({ rank_by: ["id", "asc"], limit: 1 }), (error) => {
    assert.equal(error instanceof sdk.NotFoundError, true);
    assert.match(error.message, /namespace 'ts-absent' was not found/);
    return true;
  });
  await assert.rejects(absent.metadata(), sdk.NotFoundError);
  await assert.rejects(absent.hintCacheWarm(), sdk.NotFoundError);
});

test("retries, and a timeout of its own", async () => {
  // The test that runs this has told the upstream to answer 429 twice, and to be slow.
  const flaky = await client.namespace("ts-flaky").write({ upsert_rows: [{ id: 1 }] });
  assert.equal(flaky.rows_affected, 1);
  const hasty = { timeout: 300, maxRetries: 0 };
  await assert.rejects(
    client.namespace("ts-slow").write({ upsert_rows: [{ id: 1 }] }, hasty),
    sdk.APIConnectionTimeoutError,
  );
});

test("compressed requests and answers", async () => {
  const packed = client.withOptions({ compression: true }).namespace("ts-compressed");
  const rows = Array.from({ length: 300 }, (_, id) => ({ id, text: `row ${id} `.repeat(50) }));
  await packed.write({
    upsert_rows: rows,
    schema: { text: { type: "string", filterable: false } },
  });
  const found = await packed.query({ rank_by: ["id", "asc"], limit: 300, include_attributes: true });
  assert.deepEqual(found.rows, rows);
});
