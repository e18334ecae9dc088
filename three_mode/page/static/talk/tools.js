// Tools that agents of the bus offer, by MCP at the endpoint itself: what there is, and calls.
const PATH = "/mcp";
const VERSION = "2026-07-28";
const META = "io.modelcontextprotocol/";
let number = 0;

// Asks one method; an error of the protocol is an Error.
async function asked(method, params, name, signal) {
  const meta = {
    [`${META}protocolVersion`]: VERSION,
    [`${META}clientInfo`]: {name: "three-mode page", version: "1"},
    [`${META}clientCapabilities`]: {},
  };
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": VERSION,
    "mcp-method": method,
  };
  if (name) headers["mcp-name"] = name;
  number += 1;
  const body = JSON.stringify({jsonrpc: "2.0", id: number, method, params: {...params, _meta: meta}});
  const reply = await fetch(PATH, {method: "POST", headers, credentials: "same-origin", body, signal});
  const found = await reply.json();
  if (found.error) throw new Error(found.error.message ?? "the call failed");
  return found.result;
}

// Each tool as a request of a model describes it.
export async function toolsThere(signal) {
  const {tools = []} = await asked("tools/list", {}, null, signal);
  return tools.map(({name, description, inputSchema}) => ({name, description: description ?? "", parameters: inputSchema}));
}

// Calls a tool: {text, failed}.
export async function callTool(name, argumentsText, signal) {
  let given;
  try {
    given = argumentsText.trim() ? JSON.parse(argumentsText) : {};
  } catch (error) {
    return {text: `the arguments are not JSON: ${error.message}`, failed: true};
  }
  try {
    const result = await asked("tools/call", {name, arguments: given}, name, signal);
    return {text: (result.content ?? []).map(inWords).join("\n"), failed: Boolean(result.isError)};
  } catch (error) {
    if (signal?.aborted) throw error;
    return {text: error.message, failed: true};
  }
}

function inWords(block) {
  return block.type === "text" ? block.text : `(${block.type}: ${block.mimeType ?? ""})`;
}
