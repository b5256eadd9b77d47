"""Deliveries, a JSON object a line, judged by PyPI's standardwebhooks."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    delivery = json.loads(line)
    try:
        Webhook(sys.argv[1]).verify(delivery["body"], delivery["headers"])
        print("ok")
    except WebhookVerificationError:
        print("refused")
