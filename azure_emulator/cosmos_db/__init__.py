"""Cosmos DB's data plane: items, transactional batches and queries of the containers that Resource Manager made."""
