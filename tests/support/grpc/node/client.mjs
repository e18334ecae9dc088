// Asks every method of an endpoint, as a program in Node would, and prints what came back as one line of JSON.
//
//     node client.mjs ADDRESS PROTO_FOLDER
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, folder] = process.argv.slice(2);
const definition = loader.loadSync(["three_mode/v1/llm.proto", "three_mode/v1/agents.proto", "grpc/health/v1/health.proto"], {
  includeDirs: [folder],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { three_mode, grpc: services } = grpc.loadPackageDefinition(definition);
const credentials = grpc.credentials.createInsecure();
const models = new three_mode.v1.LLMService(address, credentials);
const agents = new three_mode.v1.AgentService(address, credentials);
const health = new services.health.v1.Health(address, credentials);

const metadata = new grpc.Metadata();
const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

function ask(client, method, request, seconds = 30) {
  return new Promise((resolve, reject) =>
    client[method](request, metadata, within(seconds), (error, reply) => (error ? reject(error) : resolve(reply))),
  );
}

async function all(stream) {
  const found = [];
  for await (const item of stream) found.push(item);
  return found;
}

function chat(model, text) {
  return { model, messages: [{ role: "user", content: text }], temperature: 0.7 };
}

async function converse() {
  const call = models.Converse(metadata, within(30));
  const turns = [];
  let text = "";
  call.write({ open: chat("echo", "one") });
  for await (const output of call) {
    text += output.chunk.content;
    if (output.chunk.kind !== "finish") continue;
    turns.push([output.turn, text, output.chunk.finish.reason]);
    text = "";
    if (turns.length === 1) call.write({ say: { role: "user", content: "two" } });
    else call.end();
  }
  return turns;
}

function cancelled() {
  return new Promise((resolve) => {
    const call = models.StreamingChat(chat("forever", "on"), metadata, within(30));
    call.on("data", (chunk) => chunk.content && call.cancel());
    call.on("error", (error) => resolve(grpc.status[error.code]));
  });
}

async function failed(work) {
  try {
    await work;
    return "no error";
  } catch (error) {
    return [grpc.status[error.code], error.details, error.metadata.get("grpc-status-details-bin").length];
  }
}

const call = (handler, args) => ({ agent: "scout/1", handler, arguments: { json: JSON.stringify(args) } });
const value = (reply) => JSON.parse(reply.value.json);
const said = {
  whole: (({ content, model, usage, mode }) => [content, model, usage.output_tokens, mode])(
    await ask(models, "ChatCompletion", chat("echo", "good day")),
  ),
  streamed: (await all(models.StreamingChat(chat("echo", "good day"), metadata, within(30)))).map(
    (chunk) => chunk.kind ?? chunk.content,
  ),
  turns: await converse(),
  vectors: (await ask(models, "Embed", { model: "embedder", texts: ["a", "bcd"] })).vectors.map((one) => one.values),
  models: (await ask(models, "ListModels", {})).models.map((one) => one.id),
  asked: value(await ask(agents, "Ask", call("score", { text: "hello" }))),
  parts: (await all(agents.Stream(call("count", { to: 3 }), metadata, within(30)))).map(value),
  told: await ask(agents, "Tell", call("read", { item: { id: 1 } })),
  seen: (await ask(agents, "Broadcast", { topic: "news.eu", item: { json: '{"id":2}' }, within: 5 })).seen,
  health: (await ask(health, "Check", { service: "three_mode.v1.LLMService" })).status,
  busy: await failed(ask(models, "ChatCompletion", chat("overloaded", "x"))),
  late: (await failed(ask(models, "ChatCompletion", chat("forever", "x"), 0.3)))[0],
  cancelled: await cancelled(),
};
console.log(JSON.stringify(said));
