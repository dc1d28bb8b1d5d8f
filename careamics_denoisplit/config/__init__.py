"""Settings, presets and their files; unknown keys are refused at every level."""

from careamics_denoisplit.config.algorithm import (
    GAUSSIAN_ALGORITHMS,
    NOISE_MODEL_ALGORITHMS,
    AlgorithmName,
    DenoiSplitAlgorithm,
    Mixing,
)
from careamics_denoisplit.config.channels import channel_identifier, check_channel_names
from careamics_denoisplit.config.configuration import FORMAT_VERSION, DenoiSplitConfiguration
from careamics_denoisplit.config.data import DenoiSplitDataConfig, PatchConfig
from careamics_denoisplit.config.factory import (
    AdvancedOptions,
    create_advanced_denoisplit_config,
    create_denoisplit_config,
)
from careamics_denoisplit.config.loading import (
    RESUMABLE_KEYS,
    changed_keys,
    configuration_from_dict,
    explain,
    load_configuration,
    save_configuration,
)
from careamics_denoisplit.config.network import NetworkConfig
from careamics_denoisplit.config.presets import PRESETS, Preset, PresetName
from careamics_denoisplit.config.training import DenoiSplitTrainingConfig, Origin

__all__ = [
    "FORMAT_VERSION",
    "GAUSSIAN_ALGORITHMS",
    "NOISE_MODEL_ALGORITHMS",
    "PRESETS",
    "RESUMABLE_KEYS",
    "AdvancedOptions",
    "AlgorithmName",
    "DenoiSplitAlgorithm",
    "DenoiSplitConfiguration",
    "DenoiSplitDataConfig",
    "DenoiSplitTrainingConfig",
    "Mixing",
    "NetworkConfig",
    "Origin",
    "PatchConfig",
    "Preset",
    "PresetName",
    "changed_keys",
    "channel_identifier",
    "check_channel_names",
    "configuration_from_dict",
    "create_advanced_denoisplit_config",
    "create_denoisplit_config",
    "explain",
    "load_configuration",
    "save_configuration",
]
