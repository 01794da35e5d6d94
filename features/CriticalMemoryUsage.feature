@CriticalMemoryUsage
Feature: CriticalMemoryUsage
  An instance has used more than 95 % of its memory for five minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then CriticalMemoryUsage fires
    And assess puts CriticalMemoryUsage first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then CriticalMemoryUsage clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault       | platform   | mitigation        | restore                  |
      | memory-leak | Cloud Run  | mitigate.rollback | mitigate.release-traffic |
      | memory-leak | Kubernetes | mitigate.rollback | nothing                  |
      | data-growth | Cloud Run  | mitigate.scale-up | mitigate.undo            |
      | data-growth | Kubernetes | mitigate.scale-up | mitigate.undo            |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then CriticalMemoryUsage fires
    And assess puts CriticalMemoryUsage first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then CriticalMemoryUsage keeps firing for 10 minutes of the service's time

    Examples:
      | fault       | platform   | mitigation        |
      | memory-leak | Cloud Run  | mitigate.rollback |
      | memory-leak | Kubernetes | mitigate.rollback |
      | data-growth | Cloud Run  | mitigate.scale-up |
      | data-growth | Kubernetes | mitigate.scale-up |
