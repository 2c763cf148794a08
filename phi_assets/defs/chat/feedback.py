"""Feedback of the chat on its way to training data: ratings, candidates, reviews by people, conversations."""

import dagster as dg

from phi_assets.conversations.feedback.rated_answers import LEFT_OUT, alike, questions_of, words
from phi_assets.graph import check_gates, metadata_values
from phi_assets.graph.asset_facts import ML, NEEDS_CHAT, stored_by
from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.chat import FeedbackStore
from phi_assets.records import DatasetVersion, FeedbackCandidates, FeedbackConversations
from phi_assets.settings import Settings

HISTORY, REVIEWED = "chat_history", "reviewed_feedback"
CLEAN = "No candidate is a question of the evaluation, none is there twice, and masking finds nothing more in any."


@observed_source(
    dg.AssetSpec(
        HISTORY,
        group_name="chat",
        kinds={"sqlite"},
        owners=ML,
        description="Ratings in the chat's history that their users let be used; other messages change nothing.",
        metadata=NEEDS_CHAT | stored_by("feedback_store"),
    )
)
def chat_history(feedback_store: FeedbackStore) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=dg.DataVersion(feedback_store.rated()))


@dg.asset(
    group_name="chat",
    kinds={"mlflow"},
    owners=ML,
    deps=[HISTORY, "evaluation_questions"],
    metadata=NEEDS_CHAT
    | stored_by("feedback_store", "evaluation_questions", "personal_data", "regions", "names_model"),
)
def feedback_candidates(
    context: dg.AssetExecutionContext, feedback_store: FeedbackStore
) -> dg.MaterializeResult[FeedbackCandidates]:
    """Rated answers, masked and once each, in the review queue where people decide on them.

    Only numbers are shown here: Dagster's event log keeps what it is given, and people may take their words back.
    """
    found = feedback_store.collect(context.log.info)
    return dg.MaterializeResult(
        value=found,
        data_version=dg.DataVersion(found.digest),
        metadata={
            "candidates": found.rows,
            "corrections": found.corrections,
            "left_out": metadata_values.table(
                ("reason", "ratings"), [(LEFT_OUT[reason], str(count)) for reason, count in found.left_out.items()]
            ),
            "review": "`phi review` opens the queue",
        },
    )


check_gates.blocking(__name__, "feedback_candidates", {"fit_for_review": CLEAN}, ("evaluation_questions",))


@dg.asset_check(asset="feedback_candidates", blocking=True, description=CLEAN, metadata=NEEDS_CHAT)
def fit_for_review(
    feedback_candidates: FeedbackCandidates,
    feedback_store: FeedbackStore,
    settings: dg.ResourceParam[Settings],
    catalog: AssetCatalog,
) -> dg.AssetCheckResult:
    """Reads what was stored, and judges it anew."""
    found = feedback_store.candidates(feedback_candidates)
    evaluated = [words(question) for question in questions_of(settings.questions_file)]
    leaks = sum(any(alike(words(each.question), question) for question in evaluated) for each in found)
    twice = len(found) - len({(words(each.question), words(each.proposed)) for each in found})
    unmasked = 0
    if settings.personal_data != "keep":
        from phi_assets.conversations.personal_data import mask

        texts = (text for each in found for text in (each.proposed, *(turn["content"] for turn in each.turns)))
        masked = (mask(text, settings.regions, settings.names_model_folder) for text in texts)
        unmasked = sum(bool(each.secrets or each.personal) for each in masked)
    outcome = CheckOutcome(
        not (leaks or twice or unmasked),
        f"{leaks} of the evaluation, {twice} twice, {unmasked} texts with personal data",
        {"leaks": leaks, "twice": twice, "unmasked": unmasked},
    )
    return check_gates.check_result(
        catalog, "fit_for_review", "feedback_candidates", feedback_candidates.digest, outcome
    )


@observed_source(
    dg.AssetSpec(
        REVIEWED,
        group_name="chat",
        kinds={"mlflow"},
        owners=ML,
        description="What people decided in the review queue.",
        metadata=NEEDS_CHAT | stored_by("feedback_store"),
    )
)
def reviewed_feedback(feedback_store: FeedbackStore) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=dg.DataVersion(feedback_store.reviewed()))


@dg.asset(
    group_name="chat",
    kinds={"jsonl"},
    owners=ML,
    deps=[REVIEWED],
    metadata=NEEDS_CHAT | stored_by("feedback_store", "feedback_share", "feedback_person_share"),
)
def feedback_conversations(
    context: dg.AssetExecutionContext,
    feedback_candidates: FeedbackCandidates,
    feedback_store: FeedbackStore,
    catalog: AssetCatalog,
) -> dg.MaterializeResult[FeedbackConversations]:
    """Approved answers as conversations, which `raw_conversations` reads beside the dataset and the inbox.

    No edge leads on from here: a model, its chat, its ratings and its next dataset would be a circle.
    """
    check_gates.require_passed(catalog, "feedback_candidates", feedback_candidates.digest)
    dataset = catalog.record("chat_dataset")
    rows = sum(dataset.rows.values()) if isinstance(dataset, DatasetVersion) else None
    found = feedback_store.publish(rows, context.log.info)
    return dg.MaterializeResult(
        value=found,
        data_version=dg.DataVersion(found.digest),
        metadata={
            "conversations": found.rows,
            "rejected": found.rejected,
            "waiting_for_review": found.pending,
            "left_out": metadata_values.table(
                ("limit", "rows"), [(f"largest {limit}", str(count)) for limit, count in found.left_out.items()]
            ),
            "file": dg.MetadataValue.path(found.address) if found.address else "nothing is approved yet",
            "read_by": dg.MetadataValue.asset(key_of("raw_conversations")),
        },
    )
