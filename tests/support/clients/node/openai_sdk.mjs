// openai, OpenAI's SDK for Node: chat completions and responses, whole and streamed.
import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const messages = [{ role: "user", content: "apple" }];
const chat = await client.chat.completions.create({ model: "clerk", messages });
let streamed = "";
for await (const chunk of await client.chat.completions.create({ model: "clerk", messages, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
const response = await client.responses.create({ model: "clerk", input: "pear" });
console.log(JSON.stringify({ chat: chat.choices[0].message.content, streamed, response: response.output_text }));
