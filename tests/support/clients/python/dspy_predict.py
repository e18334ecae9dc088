"""dspy: a prediction."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

dspy.configure(lm=dspy.LM("openai/clerk", api_base=f"{sys.argv[1]}/v1", api_key=sys.argv[2], cache=False))
print(json.dumps({"answer": dspy.Predict("question -> answer")(question="Which colour is the sky?").answer}))
