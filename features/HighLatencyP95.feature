@HighLatencyP95
Feature: HighLatencyP95
  One request in twenty has taken longer than a second for ten minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighLatencyP95 fires
    And assess puts HighLatencyP95 first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then HighLatencyP95 clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault       | platform   | mitigation              | restore       |
      | saturation  | Cloud Run  | mitigate.scale-up       | mitigate.undo |
      | saturation  | Kubernetes | mitigate.scale-up       | mitigate.undo |
      | slow-reads  | Cloud Run  | mitigate.enable-caching | mitigate.undo |
      | slow-reads  | Kubernetes | mitigate.enable-caching | mitigate.undo |
      | slow-source | Cloud Run  | mitigate.set-timeout    | mitigate.undo |
      | slow-source | Kubernetes | mitigate.set-timeout    | mitigate.undo |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighLatencyP95 fires
    And assess puts HighLatencyP95 first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then HighLatencyP95 keeps firing for 10 minutes of the service's time

    Examples:
      | fault       | platform   | mitigation              |
      | saturation  | Cloud Run  | mitigate.scale-up       |
      | saturation  | Kubernetes | mitigate.scale-up       |
      | slow-reads  | Cloud Run  | mitigate.enable-caching |
      | slow-reads  | Kubernetes | mitigate.enable-caching |
      | slow-source | Cloud Run  | mitigate.set-timeout    |
      | slow-source | Kubernetes | mitigate.set-timeout    |
