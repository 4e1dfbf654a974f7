"""Which of our classes stand behind which of Metaflow's names; strings only, so that nothing can fail here."""

STEP_DECORATORS_DESC = [
    ("conda", "mfenv.metaflow.decorators.CondaStepDecorator"),
    ("pypi", "mfenv.metaflow.decorators.PyPIStepDecorator"),
    ("pip", "mfenv.metaflow.decorators.PipStepDecorator"),
    ("named_env", "mfenv.metaflow.decorators.NamedEnvStepDecorator"),
    ("sys_packages", "mfenv.metaflow.decorators.SystemPackagesStepDecorator"),
    ("conda_env_internal", "mfenv.metaflow.enter.EnterEnvironment"),
]

FLOW_DECORATORS_DESC = [
    ("conda_base", "mfenv.metaflow.decorators.CondaFlowDecorator"),
    ("pypi_base", "mfenv.metaflow.decorators.PyPIFlowDecorator"),
    ("pip_base", "mfenv.metaflow.decorators.PipFlowDecorator"),
    ("named_env_base", "mfenv.metaflow.decorators.NamedEnvFlowDecorator"),
    ("sys_packages_base", "mfenv.metaflow.decorators.SystemPackagesFlowDecorator"),
]

ENVIRONMENTS_DESC = [
    ("conda", "mfenv.metaflow.environment.CondaEnvironment"),
    ("pypi", "mfenv.metaflow.environment.PyPIEnvironment"),
]

TL_PLUGINS_DESC = [
    ("req_parser", "mfenv.metaflow.parsers.req_parser"),
    ("yml_parser", "mfenv.metaflow.parsers.yml_parser"),
    ("toml_parser", "mfenv.metaflow.parsers.toml_parser"),
    ("requirements_txt_parser", "mfenv.metaflow.parsers.requirements_txt_parser"),
    ("conda_environment_yml_parser", "mfenv.metaflow.parsers.conda_environment_yml_parser"),
    ("pyproject_toml_parser", "mfenv.metaflow.parsers.pyproject_toml_parser"),
]

# Commands of flows; loaded when a command of a flow is looked up.
CLIS_DESC = [
    ("environment", "mfenv.cli.flow.cli"),
]

# `Runner(...).environment()`.
RUNNER_CLIS_DESC = [
    ("environment", "mfenv.metaflow.runner.EnvironmentCommands"),
]
