"""The fields of serving.knative.dev/v1 as Cloud Run has them: what is read, written, refused."""

from __future__ import annotations

from staging.cloud_run.messages import (
    BOOL,
    INT32,
    INT64,
    MAP,
    STRING,
    Message,
    OutputOnly,
    Repeated,
    Unsupported,
)

_OUTPUT, _UNSUPPORTED = OutputOnly(), Unsupported()

METADATA = Message(
    {
        "name": STRING,
        "namespace": STRING,
        "labels": MAP,
        "annotations": MAP,
        "resourceVersion": STRING,
        **dict.fromkeys(
            ["uid", "selfLink", "generation", "creationTimestamp", "deletionTimestamp"], _OUTPUT
        ),
        **dict.fromkeys(
            [
                "generateName",
                "finalizers",
                "ownerReferences",
                "clusterName",
                "deletionGracePeriodSeconds",
            ],
            _UNSUPPORTED,
        ),
    }
)
_TEMPLATE_METADATA = Message({"name": STRING, "labels": MAP, "annotations": MAP})
_PROBE = Message(
    {
        "initialDelaySeconds": INT32,
        "timeoutSeconds": INT32,
        "periodSeconds": INT32,
        "failureThreshold": INT32,
        "successThreshold": OutputOnly(INT32),
        "tcpSocket": Message({"port": INT32, "host": _UNSUPPORTED}),
        "httpGet": _UNSUPPORTED,
        "grpc": _UNSUPPORTED,
        "exec": _UNSUPPORTED,
    }
)
_CONTAINER = Message(
    {
        "name": STRING,
        "image": STRING,
        "env": Repeated(Message({"name": STRING, "value": STRING, "valueFrom": _UNSUPPORTED})),
        "resources": Message({"limits": MAP, "requests": _UNSUPPORTED}),
        "ports": Repeated(
            Message({"name": STRING, "containerPort": INT32, "protocol": _UNSUPPORTED})
        ),
        "startupProbe": _PROBE,
        **dict.fromkeys(
            [
                "args",
                "command",
                "envFrom",
                "imagePullPolicy",
                "livenessProbe",
                "readinessProbe",
                "securityContext",
                "terminationMessagePath",
                "terminationMessagePolicy",
                "volumeMounts",
                "workingDir",
            ],
            _UNSUPPORTED,
        ),
    }
)
_REVISION_SPEC = Message(
    {
        "containerConcurrency": INT32,
        "timeoutSeconds": INT64,
        "serviceAccountName": STRING,
        "containers": Repeated(_CONTAINER),
        **dict.fromkeys(
            [
                "enableServiceLinks",
                "imagePullSecrets",
                "nodeSelector",
                "runtimeClassName",
                "volumes",
            ],
            _UNSUPPORTED,
        ),
    }
)
SERVICE = Message(
    {
        "apiVersion": STRING,
        "kind": STRING,
        "metadata": METADATA,
        "spec": Message(
            {
                "template": Message({"metadata": _TEMPLATE_METADATA, "spec": _REVISION_SPEC}),
                "traffic": Repeated(
                    Message(
                        {
                            "latestRevision": BOOL,
                            "revisionName": STRING,
                            "percent": INT32,
                            "tag": STRING,
                            "url": _OUTPUT,
                            "configurationName": _UNSUPPORTED,
                        }
                    )
                ),
            }
        ),
        "status": _OUTPUT,
    }
)
