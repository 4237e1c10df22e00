#!/usr/bin/env bash
# Without exec, as in the official image: process 1 is this shell, which hands no signal on.
tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name="${MODEL_NAME}" --model_base_path="${MODEL_BASE_PATH}/${MODEL_NAME}" "$@"
