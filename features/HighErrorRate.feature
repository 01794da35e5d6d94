@HighErrorRate
Feature: HighErrorRate
  More than 5 % of requests have ended in a server error for five minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighErrorRate fires
    And assess puts HighErrorRate first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then HighErrorRate clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault                | platform   | mitigation               | restore                  |
      | endpoint-errors      | Cloud Run  | mitigate.rollback        | mitigate.release-traffic |
      | endpoint-errors      | Kubernetes | mitigate.rollback        | nothing                  |
      | tenant-errors        | Cloud Run  | mitigate.rollback        | mitigate.release-traffic |
      | database-unreachable | Cloud Run  | mitigate.rollback        | mitigate.release-traffic |
      | overload             | Cloud Run  | mitigate.scale-up        | mitigate.undo            |
      | overload             | Kubernetes | mitigate.scale-up        | mitigate.undo            |
      | pinned-to-bad        | Cloud Run  | mitigate.release-traffic | nothing                  |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighErrorRate fires
    And assess puts HighErrorRate first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then HighErrorRate keeps firing for 10 minutes of the service's time

    Examples:
      | fault                | platform   | mitigation               |
      | endpoint-errors      | Cloud Run  | mitigate.rollback        |
      | endpoint-errors      | Kubernetes | mitigate.rollback        |
      | tenant-errors        | Cloud Run  | mitigate.rollback        |
      | database-unreachable | Cloud Run  | mitigate.rollback        |
      | overload             | Cloud Run  | mitigate.scale-up        |
      | overload             | Kubernetes | mitigate.scale-up        |
      | pinned-to-bad        | Cloud Run  | mitigate.release-traffic |

  Scenario: a deployment that never becomes ready pages nobody
    Given the service is healthy and under load on Cloud Run
    When the fault crash-at-start breaks the service
    Then no alert fires for 10 minutes of the service's time
    And assess says that the deployment failed and traffic never moved
    When the cause of crash-at-start is fixed
    Then the service is back at its baseline
