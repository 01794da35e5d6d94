@HighAuthFailureRate
Feature: HighAuthFailureRate
  More than five API keys a second have been refused for two minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighAuthFailureRate fires
    And assess puts HighAuthFailureRate first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then HighAuthFailureRate clears
    And requests succeed again
    And the other tenants notice nothing
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault             | platform   | mitigation              | restore       |
      | credential-spray  | Cloud Run  | mitigate.block-ip       | mitigate.undo |
      | credential-spray  | Kubernetes | mitigate.block-ip       | mitigate.undo |
      | distributed-spray | Cloud Run  | mitigate.set-rate-limit | mitigate.undo |
      | distributed-spray | Kubernetes | mitigate.set-rate-limit | mitigate.undo |

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>, once the tenants use their keys
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighAuthFailureRate fires
    And assess puts HighAuthFailureRate first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    And the tenants use their new keys
    Then HighAuthFailureRate clears
    And requests succeed again
    And the other tenants notice nothing
    When the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault        | platform   | mitigation             | restore |
      | key-rollout  | Cloud Run  | mitigate.issue-api-key | nothing |
      | key-rollout  | Kubernetes | mitigate.issue-api-key | nothing |
      | expired-keys | Cloud Run  | mitigate.issue-api-key | nothing |
      | expired-keys | Kubernetes | mitigate.issue-api-key | nothing |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighAuthFailureRate fires
    And assess puts HighAuthFailureRate first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then HighAuthFailureRate keeps firing for 10 minutes of the service's time

    Examples:
      | fault             | platform   | mitigation              |
      | credential-spray  | Cloud Run  | mitigate.block-ip       |
      | credential-spray  | Kubernetes | mitigate.block-ip       |
      | distributed-spray | Cloud Run  | mitigate.set-rate-limit |
      | distributed-spray | Kubernetes | mitigate.set-rate-limit |
      | key-rollout       | Cloud Run  | mitigate.issue-api-key  |
      | key-rollout       | Kubernetes | mitigate.issue-api-key  |
      | expired-keys      | Cloud Run  | mitigate.issue-api-key  |
      | expired-keys      | Kubernetes | mitigate.issue-api-key  |
