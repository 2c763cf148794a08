"""Records of a model that was not trained, for tests that only pass records on."""

from phi_assets.records import Evaluation, ModelVersion, Replay

NO_REPLAY = Replay(digest="0" * 64, address="", base_digest="b" * 8, conversations=0)
"""What a training gets that replays nothing."""


def a_model(digest: str, address: str) -> ModelVersion:
    return ModelVersion(
        digest=digest,
        address=address,
        adapter_address=None,
        report_address="",
        dataset_digest="d" * 8,
        base_digest="b" * 8,
        code_version="c" * 8,
        preset="laptop",
        training_run="r" * 8,
    )


def evaluated(model: ModelVersion, champion: str | None) -> Evaluation:
    """Return the model's evaluation against the champion `name/version`."""
    return Evaluation(digest="e", address="", model_digest=model.digest, dataset_digest="d" * 8, champion=champion)
