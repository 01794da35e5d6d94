"""The fields of google.cloud.run.v2 (Service, Revision): what is read, written, refused."""

from __future__ import annotations

from staging.cloud_run.messages import (
    BOOL,
    DURATION,
    INT32,
    INT64,
    MAP,
    STRING,
    Enum,
    Message,
    OutputOnly,
    Repeated,
    Scalar,
    Unsupported,
)

LAUNCH_STAGE = Enum(
    {
        "LAUNCH_STAGE_UNSPECIFIED": 0,
        "EARLY_ACCESS": 1,
        "ALPHA": 2,
        "BETA": 3,
        "GA": 4,
        "DEPRECATED": 5,
        "UNIMPLEMENTED": 6,
        "PRELAUNCH": 7,
    }
)
INGRESS = Enum(
    {
        "INGRESS_TRAFFIC_UNSPECIFIED": 0,
        "INGRESS_TRAFFIC_ALL": 1,
        "INGRESS_TRAFFIC_INTERNAL_ONLY": 2,
        "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER": 3,
        "INGRESS_TRAFFIC_NONE": 4,
    }
)
EXECUTION_ENVIRONMENT = Enum(
    {
        "EXECUTION_ENVIRONMENT_UNSPECIFIED": 0,
        "EXECUTION_ENVIRONMENT_GEN1": 1,
        "EXECUTION_ENVIRONMENT_GEN2": 2,
    }
)
SCALING_MODE = Enum({"SCALING_MODE_UNSPECIFIED": 0, "AUTOMATIC": 1, "MANUAL": 2})
ALLOCATION = Enum(
    {
        "TRAFFIC_TARGET_ALLOCATION_TYPE_UNSPECIFIED": 0,
        "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST": 1,
        "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION": 2,
    }
)
STATE = Enum(
    {
        "STATE_UNSPECIFIED": 0,
        "CONDITION_PENDING": 1,
        "CONDITION_RECONCILING": 2,
        "CONDITION_FAILED": 3,
        "CONDITION_SUCCEEDED": 4,
    }
)
SEVERITY = Enum({"SEVERITY_UNSPECIFIED": 0, "ERROR": 1, "WARNING": 2, "INFO": 3})
REASON = Enum({"COMMON_REASON_UNDEFINED": 0, "UNKNOWN": 1, "REVISION_FAILED": 3})
REVISION_REASON = Enum(
    {"REVISION_REASON_UNDEFINED": 0, "RETIRED": 3, "HEALTH_CHECK_CONTAINER_ERROR": 6}
)

_OUTPUT, _UNSUPPORTED = OutputOnly(), Unsupported()

CONDITION = Message(
    {
        "type": STRING,
        "state": STATE,
        "message": STRING,
        "lastTransitionTime": STRING,
        "severity": SEVERITY,
        "reason": REASON,
        "revisionReason": REVISION_REASON,
    }
)
PROBE = Message(
    {
        "initialDelaySeconds": INT32,
        "timeoutSeconds": INT32,
        "periodSeconds": INT32,
        "failureThreshold": INT32,
        "tcpSocket": Message({"port": INT32}),
        "httpGet": _UNSUPPORTED,
        "grpc": _UNSUPPORTED,
    }
)
CONTAINER = Message(
    {
        "name": STRING,
        "image": STRING,
        "env": Repeated(Message({"name": STRING, "value": STRING, "valueSource": _UNSUPPORTED})),
        "resources": Message({"limits": MAP, "cpuIdle": BOOL, "startupCpuBoost": BOOL}),
        "ports": Repeated(Message({"name": STRING, "containerPort": INT32})),
        "startupProbe": PROBE,
        "buildInfo": _OUTPUT,
        **dict.fromkeys(
            [
                "sourceCode",
                "command",
                "args",
                "volumeMounts",
                "workingDir",
                "livenessProbe",
                "readinessProbe",
                "dependsOn",
                "baseImageUri",
            ],
            _UNSUPPORTED,
        ),
    }
)
_SHARED_BY_TEMPLATE_AND_REVISION: dict[str, Scalar | Enum | Message | Repeated | Unsupported] = {
    "labels": MAP,
    "annotations": MAP,
    "scaling": Message({"minInstanceCount": INT32, "maxInstanceCount": INT32}),
    "timeout": DURATION,
    "serviceAccount": STRING,
    "containers": Repeated(CONTAINER),
    "executionEnvironment": EXECUTION_ENVIRONMENT,
    "maxInstanceRequestConcurrency": INT32,
    "sessionAffinity": BOOL,
    **dict.fromkeys(
        [
            "vpcAccess",
            "volumes",
            "encryptionKey",
            "serviceMesh",
            "encryptionKeyRevocationAction",
            "encryptionKeyShutdownDuration",
            "nodeSelector",
            "gpuZonalRedundancyDisabled",
        ],
        _UNSUPPORTED,
    ),
}
TEMPLATE = Message(
    {
        "revision": STRING,
        "healthCheckDisabled": _UNSUPPORTED,
        **_SHARED_BY_TEMPLATE_AND_REVISION,
    }
)
TRAFFIC_TARGET = Message({"type": ALLOCATION, "revision": STRING, "percent": INT32, "tag": STRING})
SERVICE = Message(
    {
        "etag": STRING,
        "description": STRING,
        "labels": MAP,
        "annotations": MAP,
        "client": STRING,
        "clientVersion": STRING,
        "ingress": INGRESS,
        "launchStage": LAUNCH_STAGE,
        "template": TEMPLATE,
        "traffic": Repeated(TRAFFIC_TARGET),
        "scaling": Message(
            {
                "minInstanceCount": INT32,
                "maxInstanceCount": INT32,
                "scalingMode": SCALING_MODE,
                "manualInstanceCount": INT32,
            }
        ),
        "terminalCondition": OutputOnly(CONDITION),
        "conditions": OutputOnly(Repeated(CONDITION)),
        "trafficStatuses": OutputOnly(
            Repeated(Message({**TRAFFIC_TARGET.fields, "uri": STRING})),
        ),
        **dict.fromkeys(
            [
                "name",
                "uid",
                "generation",
                "createTime",
                "updateTime",
                "deleteTime",
                "expireTime",
                "creator",
                "lastModifier",
                "urls",
                "observedGeneration",
                "latestReadyRevision",
                "latestCreatedRevision",
                "uri",
                "satisfiesPzs",
                "reconciling",
            ],
            _OUTPUT,
        ),
        **dict.fromkeys(
            [
                "binaryAuthorization",
                "invokerIamDisabled",
                "defaultUriDisabled",
                "iapEnabled",
                "multiRegionSettings",
                "customAudiences",
                "threatDetectionEnabled",
                "buildConfig",
            ],
            _UNSUPPORTED,
        ),
    }
)
REVISION = Message(
    {
        **_SHARED_BY_TEMPLATE_AND_REVISION,
        "launchStage": LAUNCH_STAGE,
        "conditions": Repeated(CONDITION),
        "generation": INT64,
        "scalingStatus": Message({"desiredMinInstanceCount": INT32}),
        **dict.fromkeys(
            [
                "name",
                "uid",
                "createTime",
                "updateTime",
                "deleteTime",
                "expireTime",
                "service",
                "reconciling",
                "observedGeneration",
                "logUri",
                "satisfiesPzs",
                "creator",
                "etag",
            ],
            _OUTPUT,
        ),
    }
)
