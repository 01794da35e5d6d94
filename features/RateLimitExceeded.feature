@RateLimitExceeded
Feature: RateLimitExceeded
  More than ten requests a second have been refused by a rate limit for five minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then RateLimitExceeded fires
    And assess puts RateLimitExceeded first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then RateLimitExceeded clears
    And requests succeed again
    And the other tenants notice nothing
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault          | platform   | mitigation              | restore       |
      | tenant-spike   | Cloud Run  | mitigate.set-rate-limit | mitigate.undo |
      | tenant-spike   | Kubernetes | mitigate.set-rate-limit | mitigate.undo |
      | abusive-tenant | Cloud Run  | mitigate.block-tenant   | mitigate.undo |
      | abusive-tenant | Kubernetes | mitigate.block-tenant   | mitigate.undo |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then RateLimitExceeded fires
    And assess puts RateLimitExceeded first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then RateLimitExceeded keeps firing for 10 minutes of the service's time

    Examples:
      | fault          | platform   | mitigation              |
      | tenant-spike   | Cloud Run  | mitigate.set-rate-limit |
      | tenant-spike   | Kubernetes | mitigate.set-rate-limit |
      | abusive-tenant | Cloud Run  | mitigate.block-tenant   |
      | abusive-tenant | Kubernetes | mitigate.block-tenant   |
