@HighErrorRate
Feature: HighErrorRate
  More than 5 % of requests have ended in a server error for five minutes.

  Background:
    Given the service is healthy and under load

  @loop
  Scenario Outline: <mitigation> mends <fault>
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
      | fault                | mitigation               | restore                  |
      | endpoint-errors      | mitigate.rollback        | mitigate.release-traffic |
      | tenant-errors        | mitigate.rollback        | mitigate.release-traffic |
      | database-unreachable | mitigate.rollback        | mitigate.release-traffic |
      | overload             | mitigate.scale-up        | mitigate.undo            |
      | pinned-to-bad        | mitigate.release-traffic | nothing                  |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red
    When the fault <fault> breaks the service
    Then HighErrorRate fires
    And assess puts HighErrorRate first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then HighErrorRate keeps firing for 10 minutes of the service's time

    Examples:
      | fault                | mitigation               |
      | endpoint-errors      | mitigate.rollback        |
      | tenant-errors        | mitigate.rollback        |
      | database-unreachable | mitigate.rollback        |
      | overload             | mitigate.scale-up        |
      | pinned-to-bad        | mitigate.release-traffic |

  Scenario: a deployment that never becomes ready pages nobody
    When the fault crash-at-start breaks the service
    Then no alert fires for 10 minutes of the service's time
    And assess says that the deployment failed and traffic never moved
    When the cause of crash-at-start is fixed
    Then the service is back at its baseline
