// Read by the compiler only: what fits and what does not.
import { createTalkoo, type Schema } from "../index.js";

const node = createTalkoo({ token: "x" });

export async function fits(): Promise<string> {
  const status: Schema<"Status"> = await node.get("/status");
  const posted = await node.post("/jobs", { body: { file: "", nodes: 2, provider: { sort: "price" } } });
  const job = await node.get("/jobs/{id}", { path: { id: posted.job } });
  await node.delete("/jobs/{id}", { path: { id: job.job } });
  await node.get("/data-audit", { query: { verify: true } });
  // @ts-expect-error there is no such path
  await node.get("/nothing");
  // @ts-expect-error there is no such field
  await node.post("/jobs", { body: { file: "", nods: 2 } });
  // @ts-expect-error it is a number
  await node.post("/jobs", { body: { file: "", nodes: "2" } });
  // @ts-expect-error a status has no such field
  return status.nothing;
}
