// Deliveries, a JSON object a line, judged by npm's standardwebhooks.
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

for (const line of readFileSync(0, "utf8").split("\n")) {
  const { headers, body } = JSON.parse(line);
  try {
    new Webhook(process.argv[2]).verify(body, headers);
    console.log("ok");
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    console.log("refused");
  }
}
