"""The other two ways to deploy the same template: the Azure Developer CLI, and `az deployment sub create`."""

import json

import yaml

from azure_emulator.bicep.compiler import PROJECT

PARAMETERS = json.loads((PROJECT / "infra/main.parameters.json").read_text())["parameters"]
TEMPLATE = json.loads((PROJECT / "infra/main.json").read_text())


def test_azd_finds_the_template_and_its_parameters():
    infra = yaml.safe_load((PROJECT / "azure.yaml").read_text())["infra"]

    assert infra["provider"] == "bicep"
    assert (PROJECT / infra["path"] / f"{infra['module']}.bicep").is_file()
    assert (PROJECT / infra["path"] / f"{infra['module']}.parameters.json").is_file()


def test_azd_fills_what_the_template_needs_from_its_own_variables():
    assert {name: PARAMETERS[name]["value"] for name in ("environmentName", "location", "principalId")} == {
        "environmentName": "${AZURE_ENV_NAME}",
        "location": "${AZURE_LOCATION}",
        "principalId": "${AZURE_PRINCIPAL_ID}",
    }


def test_what_azd_may_leave_out_has_the_templates_own_default():
    for name in ("principalType", "accessMode", "purgeProtection"):
        variable, _, default = PARAMETERS[name]["value"].strip("${}").partition("=")
        assert variable.isupper()
        assert default == str(TEMPLATE["parameters"][name]["defaultValue"]).replace("False", "false")


def test_every_parameter_that_azd_gives_is_one_of_the_templates():
    assert PARAMETERS.keys() <= TEMPLATE["parameters"].keys()


def test_the_template_deploys_to_a_subscription():
    assert TEMPLATE["$schema"].endswith("subscriptionDeploymentTemplate.json#")
