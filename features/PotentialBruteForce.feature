@PotentialBruteForce
Feature: PotentialBruteForce
  More than ten keys a second that name one tenant have been refused for a minute.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then PotentialBruteForce fires
    And assess puts PotentialBruteForce first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then PotentialBruteForce clears
    And requests succeed again
    And the other tenants notice nothing
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault                   | platform   | mitigation              | restore       |
      | brute-force             | Cloud Run  | mitigate.block-ip       | mitigate.undo |
      | brute-force             | Kubernetes | mitigate.block-ip       | mitigate.undo |
      | distributed-brute-force | Cloud Run  | mitigate.set-rate-limit | mitigate.undo |
      | distributed-brute-force | Kubernetes | mitigate.set-rate-limit | mitigate.undo |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then PotentialBruteForce fires
    And assess puts PotentialBruteForce first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then PotentialBruteForce keeps firing for 10 minutes of the service's time

    Examples:
      | fault                   | platform   | mitigation              |
      | brute-force             | Cloud Run  | mitigate.block-ip       |
      | brute-force             | Kubernetes | mitigate.block-ip       |
      | distributed-brute-force | Cloud Run  | mitigate.set-rate-limit |
      | distributed-brute-force | Kubernetes | mitigate.set-rate-limit |
