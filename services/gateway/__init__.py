"""OpenAI HTTP in front of the routers and the engines."""
