// The request of a turn: as the endpoint gets it, and as a line for a shell. No DOM, no network.
export const PATH = "/v1/chat/completions";
export const CONVERSATION = "three_mode.conversation";
const OWN = ["model", "messages", "stream", "stream_options", "tools", CONVERSATION]; // fields that the page sets itself

// The body. `turns` are messages; in a conversation that the endpoint keeps, those alone that are new.
export function bodyOf({model, system, turns, tools = [], conversation = null, fields = {}}) {
  const messages = system ? [{role: "system", content: system}, ...turns] : [...turns];
  const body = {model, messages, stream: true, stream_options: {include_usage: true}, ...fields};
  if (tools.length) body.tools = tools.map((tool) => ({type: "function", function: tool}));
  if (conversation) body[CONVERSATION] = conversation;
  return body;
}

// Further fields of a request, as somebody typed them; what is wrong with them is an Error.
export function fieldsOf(text) {
  if (!text.trim()) return {};
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(`the further fields are not JSON: ${error.message}`);
  }
  if (found === null || typeof found !== "object" || Array.isArray(found)) {
    throw new Error('the further fields are a JSON object, such as {"temperature": 0}');
  }
  const own = OWN.find((name) => name in found);
  if (own) throw new Error(`${own} is set by the page`);
  return found;
}

// The same request by curl. Keys are never shown: the line reads one from a variable of the shell.
export function curlLine(origin, body, keyed) {
  const key = keyed ? ' -H "authorization: Bearer $THREE_MODE_KEY"' : "";
  return `curl -N ${quoted(origin + PATH)} -H 'content-type: application/json'${key} -d ${quoted(JSON.stringify(body))}`;
}

// A word that a shell takes as it is.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
