"""Names of assets by what stands before or behind them, for expectations that are written by hand."""

FLOWS = {"chat_flow", "chat_flow_evaluation"}
AGENT = {"agent_evaluation"}  # on a laptop
FROM_DEPLOYMENT = {"online_deployment", *FLOWS}
FROM_EVALUATION = {"model_evaluation", "registered_model", "model_card", *FROM_DEPLOYMENT}
FROM_TRAINING = {"fine_tuned_model", *FROM_EVALUATION}
REPLAY = {"replay_conversations"}
FROM_REPLAY = {*REPLAY, *FROM_TRAINING}
FROM_ENDPOINT = {"online_endpoint", "endpoint_connection", *FROM_DEPLOYMENT}
AZURE_RESOURCES = {
    "resource_group",
    "storage_account",
    "key_vault",
    "application_insights",
    "container_registry",
    "managed_identity",
    "role_assignments",
}
ON_RESOURCES = {"ml_workspace", "training_compute", "training_environment", "chat_dataset", "base_model"}
ALL_OF_AZURE = {*AZURE_RESOURCES, *ON_RESOURCES, *FROM_REPLAY, *FROM_ENDPOINT, "gpu_quota"}
ALL_BUT_QUOTA = ALL_OF_AZURE - {"gpu_quota"}
# A flow is in the home and does not name the deployment: it depends on its connection.
NAMES_DEPLOYMENT = ALL_BUT_QUOTA - FLOWS
EVALUATIONS = {"model_evaluation", "chat_flow_evaluation"}
RAW, QUESTIONS = {"raw_conversations"}, {"evaluation_questions"}
GENERAL, REPLAY_SOURCES = {"general_questions"}, {"replay_sources"}
CHAT = {"endpoint_connection", *FLOWS}
WORKSPACE_SOURCE = "phi_assets/defs/infrastructure/assets.py"
WORKSPACE = {"ml_workspace", "training_compute", "training_environment"}
